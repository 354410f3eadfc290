# Gitea, Argo CD and Backstage on the control plane of make up. State: UP_DIR/portal.
.PHONY: portal portal-down portal-build test-portal-form test-portal-pass test-portal-waves
portal: $(foreach t,$(PORTAL_TOOLS),$($(t))) up portal-build ## make up, and beside it Gitea, Argo CD and Backstage with the order form, all real; prints the address and a login (Debian: postgresql, redis-server, git; Node 20)
	@$(CONTROLPLANE) portal -dir $(UP_DIR) -programs $(UP_BUILD)/bin

portal-down: ## stop what make portal started beside make up; nothing is left
	@if [ -x $(CONTROLPLANE) ]; then $(CONTROLPLANE) portal-down -dir $(UP_DIR); fi

portal-build:
	@mkdir -p $(UP_BUILD)/bin && go build -ldflags '-s -w' -o $(UP_BUILD)/bin/ ./cmd/ledger

# Where there is a Chromium, the form is seen in it.
FORM_IN = CHROMIUM=$(wildcard $(CHROMIUM))
test-portal-form: $(BACKSTAGE) ## 95 values that hurt through Backstage's real scaffolder, and the form in Chromium; SCREENSHOTS=folder for pictures
	cd test/portal && GOWORK=off $(VET) ./... && GOWORK=off $(FORM_IN) go test -count=1 -timeout 15m -run TestForm ./...

# A portal of its own, so that the one somebody plays with is left alone.
PASS_DIR = $(UP_DIR)-pass
COUNT   ?= 1
PASS    ?= TestPass|TestKilledInTheMiddle
test-portal-pass: ## from an upload to nothing left, with make portal's real programs, COUNT=3 times in a row; PASS=TestPass leaves out that each of them is killed once
	@trap '$(MAKE) -C $(CURDIR) UP_DIR=$(PASS_DIR) portal-down down' EXIT; LEDGER_PUSH_WITHIN=10s $(MAKE) UP_DIR=$(PASS_DIR) portal && \
	  cd test/portal && GOWORK=off $(FORM_IN) PORTAL_UP_DIR=$(PASS_DIR) go test -count=$(COUNT) -v -timeout $$((30 * $(COUNT)))m -run '$(PASS)' ./...

test-portal-waves: $(foreach t,GITEA GITEA_FILES ARGOCD ARGOCD_FILES,$($(t))) tools up-build portal-build ## the platform's root Application on a control plane that has nothing yet: it heals by itself, wave after wave
	cd test/portal && GOWORK=off WAVES_BUILD=$(UP_BUILD) go test -count=1 -v -timeout 20m ./waves
