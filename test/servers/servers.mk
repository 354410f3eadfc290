# fetch-spend on the servers that people have.
SERVERS_TEST_FLAGS ?=

.PHONY: test-servers
test-servers: $(PROMETHEUS) $(VICTORIA_METRICS) ## measure the same agents on a real Prometheus and a real VictoriaMetrics, to the same figure
	@go test -count=1 -timeout 10m $(SERVERS_TEST_FLAGS) ./test/servers -args -prometheus=$(PROMETHEUS) -victoriametrics=$(VICTORIA_METRICS)

.PHONY: test-servers-all
test-servers-all: $(PROMETHEUS) $(NEWER_PROMETHEUS) $(VICTORIA_METRICS) ## the same, and on Prometheus 3.16; not in CI: it takes long to build
	@go test -count=1 -timeout 10m $(SERVERS_TEST_FLAGS) ./test/servers -args -prometheus=$(PROMETHEUS) -victoriametrics=$(VICTORIA_METRICS) -newer-prometheus=$(NEWER_PROMETHEUS)

.PHONY: test-servers-long
test-servers-long: $(PROMETHEUS) $(THANOS) $(MIMIR) ## the same on a real Thanos and a real Mimir, their faults and limits included; not in CI: an hour to build
	@go test -count=1 -timeout 20m $(SERVERS_TEST_FLAGS) -run 'Thanos|Mimir' ./test/servers -args -prometheus=$(PROMETHEUS) -thanos=$(THANOS) -mimir=$(MIMIR)
