# The programs that building, checking and running the suite needs, each built
# from a pinned Go module in a folder beside this file. Nobody installs anything
# by hand: a target that needs a tool names its variable, $(CONTROLLER_GEN), as
# a prerequisite, and the tool is built once per machine.
#
# The binaries lie outside the checkout, so that fresh clones reuse them, and
# carry their version in the name, so that different clones get along.
TOOLS_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/whisperops/tools
TOOLS_SRC := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

# $(call tool-version,folder,module): the version that folder/go.mod requires.
tool-version = $(or $(shell sed -n 's|^\(require \)\?[[:space:]]*$(2) \(v[^ ]*\).*|\2|p' $(TOOLS_SRC)/$(1)/go.mod),$(error $(TOOLS_SRC)/$(1)/go.mod does not require $(2)))

# $(call tool-rule,file,folder,package,linker flags,time,build tags): how to
# build one binary. It is built under a name of its own and renamed, so two
# makes at once may both build it, and an interrupted one leaves nothing half.
define tool-rule
$(1):
	@mkdir -p $$(@D)
	@echo "building $$(@F) once for this machine ($(5) on two cores) ..." >&2
	@tmp=$$@.building-$$$$$$$$; trap 'rm -f "$$$$tmp"' EXIT; trap 'exit 130' INT TERM HUP; \
	  (cd $(TOOLS_SRC)/$(2) && GOWORK=off CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false \
	    $(if $(6),-tags '$(6)') -ldflags '-s -w $(4)' -o "$$$$tmp" $(3)) && mv -f "$$$$tmp" $$@
endef

CROSSPLANE_CLI_VERSION  := $(call tool-version,crossplane-cli,github.com/crossplane/cli/v2)
CROSSPLANE_CORE_VERSION := $(call tool-version,crossplane-core,github.com/crossplane/crossplane/v2)
CONTROLLER_GEN_VERSION  := $(call tool-version,controller-gen,sigs.k8s.io/controller-tools)

GOLANGCI_LINT_VERSION   := $(call tool-version,golangci-lint,github.com/golangci/golangci-lint/v2)
PROMETHEUS_VERSION      := $(call tool-version,prometheus,github.com/prometheus/prometheus)
ETCD_VERSION            := $(call tool-version,etcd,go.etcd.io/etcd/server/v3)

CROSSPLANE_CLI  := $(TOOLS_DIR)/crossplane-$(CROSSPLANE_CLI_VERSION)
CROSSPLANE_CORE := $(TOOLS_DIR)/crossplane-core-$(CROSSPLANE_CORE_VERSION)
CONTROLLER_GEN  := $(TOOLS_DIR)/controller-gen-$(CONTROLLER_GEN_VERSION)
GOLANGCI_LINT   := $(TOOLS_DIR)/golangci-lint-$(GOLANGCI_LINT_VERSION)
PROMETHEUS      := $(TOOLS_DIR)/prometheus-$(PROMETHEUS_VERSION)
PROMTOOL        := $(TOOLS_DIR)/promtool-$(PROMETHEUS_VERSION)
ETCD            := $(TOOLS_DIR)/etcd-$(ETCD_VERSION)

# Service discovery for clouds triples the build and nothing here uses it.
PROMETHEUS_TAGS := remove_all_sd

# Without its version Crossplane refuses every package that constrains it.
XP_VERSION := -X github.com/crossplane/crossplane-runtime/v2/pkg/version.version=

$(eval $(call tool-rule,$(CROSSPLANE_CLI),crossplane-cli,github.com/crossplane/cli/v2/cmd/crossplane,$(XP_VERSION)$(CROSSPLANE_CLI_VERSION),4 minutes))
$(eval $(call tool-rule,$(CROSSPLANE_CORE),crossplane-core,github.com/crossplane/crossplane/v2/cmd/crossplane,$(XP_VERSION)$(CROSSPLANE_CORE_VERSION),3 minutes))
$(eval $(call tool-rule,$(CONTROLLER_GEN),controller-gen,sigs.k8s.io/controller-tools/cmd/controller-gen,,1 minute))
$(eval $(call tool-rule,$(GOLANGCI_LINT),golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,-X main.version=$(GOLANGCI_LINT_VERSION),4 minutes))
$(eval $(call tool-rule,$(PROMETHEUS),prometheus,github.com/prometheus/prometheus/cmd/prometheus,-X github.com/prometheus/common/version.Version=$(PROMETHEUS_VERSION),2 minutes,$(PROMETHEUS_TAGS)))
$(eval $(call tool-rule,$(PROMTOOL),prometheus,github.com/prometheus/prometheus/cmd/promtool,-X github.com/prometheus/common/version.Version=$(PROMETHEUS_VERSION),1 minute,$(PROMETHEUS_TAGS)))
$(eval $(call tool-rule,$(ETCD),etcd,go.etcd.io/etcd/server/v3,,1 minute))
