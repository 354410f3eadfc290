SANDBOX_ENV = FAKE_GCS_SERVER=$(FAKE_GCS_SERVER) SANDBOX_TEST_PANDAS=required NEWCOMER_QUESTIONS=all

.PHONY: test-sandbox bench-sandbox
test-sandbox: $(FAKE_GCS_SERVER) ## the sandbox with a real Python, pandas and storage emulator; needs Debian's python3-pandas and python3-matplotlib
	@$(SANDBOX_ENV) go test -count=1 -timeout 20m ./internal/sandbox ./internal/csvfile ./test/standins/provider/...

bench-sandbox: ## what a run in the sandbox costs beside a cold start of Python with pandas; fails above a tenth
	@SANDBOX_TEST_PANDAS=required go test -run '^$$' -bench Run -benchtime 10x ./internal/sandbox
