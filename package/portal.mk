.PHONY: portal-bake
portal-bake: ## write the portal's templates for your platform into _output/portal: BASE_DOMAIN, PROJECT_ID, GITEA_URL, GRAFANA_URL
	@package/portal/bake.sh $(OUTPUT)/portal BASE_DOMAIN=$(BASE_DOMAIN) PROJECT_ID=$(PROJECT_ID) GITEA_URL=$(GITEA_URL) GRAFANA_URL=$(GRAFANA_URL)
