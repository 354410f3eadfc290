.PHONY: test-dashboard
test-dashboard: $(PROMTOOL) ## evaluate every query of the agents' dashboard on Prometheus' own engine
	PROMTOOL=$(PROMTOOL) go test -count=1 ./test/dashboard
