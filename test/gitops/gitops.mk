.PHONY: test-gitops test-gitops-update
test-gitops: ## run Argo CD's health checks on every story, on Argo CD's own interpreter, and check the manifests of package/gitops and package/portal
	cd test/gitops && GOWORK=off $(VET) ./... && GOWORK=off go test ./...

test-gitops-update: ## rewrite package/gitops/argocd-cm.yaml and what the stories' health should be
	cd test/gitops && GOWORK=off go test ./... -update

.PHONY: test-portal
test-portal: ## render the portal's skeleton with Backstage's template engine and read it as Kubernetes does; wants Node 20 or later
	@cd test/portal && if ! command -v npm >/dev/null || ! npm ci --no-progress --loglevel=error; then \
	  echo "NOT CHECKED: what people type into the order form, by Backstage's template engine: make test-portal wants Node 20 or later and npm's registry"; exit 0; fi; \
	node --test --test-reporter=spec && cd ../gitops && GOWORK=off go test -count=1 -run TestSkeleton ./...
