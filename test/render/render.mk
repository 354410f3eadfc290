# The stories of examples/, rendered by the Crossplane CLI. Both of its programs
# can be others than the pinned ones: make render CROSSPLANE=path CROSSPLANE_CORE=path.
# AUTO_READY=path renders with a real function-auto-ready instead of its stand-in.
export AUTO_READY
CROSSPLANE ?= $(CROSSPLANE_CLI)
EXAMPLE    ?=

RENDER      = $(OUTPUT)/bin/render -bin $(OUTPUT)/bin -out _output/render -crossplane $(CROSSPLANE) -core $(CROSSPLANE_CORE)

.PHONY: render
render: $(CROSSPLANE) $(CROSSPLANE_CORE) render-build ## render examples/ with the Crossplane CLI (EXAMPLE=name for one)
	@exec $(RENDER) -example '$(EXAMPLE)'

.PHONY: render-serve
render-serve: render-build ## serve the functions for rendering by hand, until Ctrl-C
	@exec $(RENDER) -serve

.PHONY: render-build
render-build:
	@mkdir -p $(OUTPUT)/bin
	@go build $(SMALL) -o $(OUTPUT)/bin ./cmd/function-* ./test/standins/autoready ./test/standins/steps ./test/render
