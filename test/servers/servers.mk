# fetch-spend on the servers that people have.
SERVERS_TEST_FLAGS ?=

.PHONY: test-servers
test-servers: $(PROMETHEUS) $(VICTORIA_METRICS) ## measure the same agents on a real Prometheus and a real VictoriaMetrics, to the same figure
	@go test -count=1 -timeout 10m $(SERVERS_TEST_FLAGS) ./test/servers -args -prometheus=$(PROMETHEUS) -victoriametrics=$(VICTORIA_METRICS)
