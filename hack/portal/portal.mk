# Gitea, Argo CD and Backstage on the control plane of make up. State: UP_DIR/portal.
.PHONY: portal portal-down portal-build test-portal-form
portal: $(foreach t,$(PORTAL_TOOLS),$($(t))) up portal-build ## make up, and beside it Gitea, Argo CD and Backstage with the order form, all real; prints the address and a login (Debian: postgresql, redis-server, git; Node 20)
	@$(CONTROLPLANE) portal -dir $(UP_DIR) -programs $(UP_BUILD)/bin

portal-down: ## stop what make portal started beside make up; nothing is left
	@if [ -x $(CONTROLPLANE) ]; then $(CONTROLPLANE) portal-down -dir $(UP_DIR); fi

portal-build:
	@mkdir -p $(UP_BUILD)/bin && go build -ldflags '-s -w' -o $(UP_BUILD)/bin/ ./cmd/ledger

test-portal-form: $(BACKSTAGE) ## 95 values that hurt through Backstage's real scaffolder
	cd test/portal && GOWORK=off $(VET) ./... && GOWORK=off go test -count=1 -timeout 15m ./...
