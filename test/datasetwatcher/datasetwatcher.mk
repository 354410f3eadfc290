WATCHER_BIN := $(OUTPUT)/bin/dataset-watcher
WATCHER_ENV  = DATASET_WATCHER=$(WATCHER_BIN) FAKE_GCS_SERVER=$(FAKE_GCS_SERVER) GITEA=$(GITEA) GITEA_FILES=$(GITEA_FILES)

.PHONY: test-watcher
test-watcher: build-watcher ## the dataset watcher on a real API server, storage emulator and Gitea
	@env=($(WATCHER_ENV)); cd test/datasetwatcher && GOWORK=off $(VET) ./... && \
	  env "$${env[@]}" GOWORK=off go test -count=1 -timeout 20m -parallel 4 $(WATCHER_FLAGS) ./...

.PHONY: demo-watcher
demo-watcher: build-watcher ## upload three CSVs to a storage emulator and watch kubectl get xds
	@env=($(WATCHER_ENV)); cd test/datasetwatcher && env "$${env[@]}" GOWORK=off go run ./demo

.PHONY: bench-watcher
bench-watcher: build-watcher ## what the dataset watcher costs with 1,000 objects
	@env=($(WATCHER_ENV)); cd test/datasetwatcher && env "$${env[@]}" GOWORK=off go run ./bench $(BENCH_FLAGS)

.PHONY: build-watcher
build-watcher: $(ETCD) $(KUBE_APISERVER) $(KUBE_CONTROLLER_MANAGER) $(KUBECTL) $(FAKE_GCS_SERVER) $(GITEA) $(GITEA_FILES)
	@mkdir -p $(OUTPUT)/bin
	@go build -ldflags '-s -w' -o $(WATCHER_BIN) ./cmd/dataset-watcher
