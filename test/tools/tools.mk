# The programs that building, checking and running the suite needs, each built
# from a pinned Go module in a folder beside this file. Nobody installs anything
# by hand: a target that needs a tool names its variable, $(CONTROLLER_GEN), as
# a prerequisite, and the tool is built once per machine.
#
# The binaries lie outside the checkout, so that fresh clones reuse them, and
# carry their version in the name, so that different clones get along.
#
# Crossplane's CLI and core, Prometheus and the storage emulator share the product's
# versions of what they have in common (test/architecture checks it), which makes the
# first build much shorter. The rest is built from what its authors released.
TOOLS_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/whisperops/tools
TOOLS_SRC := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

# $(call tool-version,folder,module): the version that folder/go.mod requires.
tool-version = $(or $(shell sed -n 's|^\(require \)\?[[:space:]]*$(2) \(v[^ ]*\).*|\2|p' $(TOOLS_SRC)/$(1)/go.mod),$(error $(TOOLS_SRC)/$(1)/go.mod does not require $(2)))

# $(call tool-rule,file,folder,package,linker flags,time,build tags,cgo,toolchain): how to
# build one binary; without a C compiler unless cgo is 1, with this machine's Go unless a
# toolchain is named. It is built under a name of its own and renamed, so two
# makes at once may both build it, and an interrupted one leaves nothing half.
define tool-rule
$(1):
	@mkdir -p $$(@D)
	@echo "building $$(@F) once for this machine ($(5) on two cores) ..." >&2
	@tmp=$$@.building-$$$$$$$$; trap 'rm -f "$$$$tmp"' EXIT; trap 'exit 130' INT TERM HUP; \
	  (cd $(TOOLS_SRC)/$(2) && GOWORK=off CGO_ENABLED=$(or $(7),0) $(if $(8),GOTOOLCHAIN=$(8)) go build -mod=readonly -trimpath -buildvcs=false \
	    $(if $(6),-tags '$(6)') -ldflags '-s -w $(4)' -o "$$$$tmp" $(3)) && mv -f "$$$$tmp" $$@
endef

CROSSPLANE_CLI_VERSION  := $(call tool-version,crossplane-cli,github.com/crossplane/cli/v2)
CROSSPLANE_CORE_VERSION := $(call tool-version,crossplane-core,github.com/crossplane/crossplane/v2)
CONTROLLER_GEN_VERSION  := $(call tool-version,controller-gen,sigs.k8s.io/controller-tools)

GOLANGCI_LINT_VERSION   := $(call tool-version,golangci-lint,github.com/golangci/golangci-lint/v2)
PROMETHEUS_VERSION      := $(call tool-version,prometheus,github.com/prometheus/prometheus)
ETCD_VERSION            := $(call tool-version,etcd,go.etcd.io/etcd/server/v3)
KUBERNETES_VERSION      := $(call tool-version,kubernetes,k8s.io/kubernetes)
PROVIDER_KUBERNETES_VERSION := $(call tool-version,provider-kubernetes,github.com/crossplane-contrib/provider-kubernetes)
FAKE_GCS_SERVER_VERSION := $(call tool-version,fake-gcs-server,github.com/fsouza/fake-gcs-server)
NEWER_PROMETHEUS_VERSION := $(call tool-version,prometheus-newer,github.com/prometheus/prometheus)
VICTORIA_METRICS_VERSION := $(call tool-version,victoriametrics,github.com/VictoriaMetrics/VictoriaMetrics)
GITEA_VERSION           := $(call tool-version,gitea,code.gitea.io/gitea)
ARGOCD_VERSION          := $(call tool-version,argo-cd,github.com/argoproj/argo-cd/v3)
COREDNS_VERSION         := $(call tool-version,coredns,github.com/coredns/coredns)
KUBE_ROUTER_VERSION     := $(call tool-version,kube-router,github.com/cloudnativelabs/kube-router/v2)
KYVERNO_VERSION         := $(call tool-version,kyverno,github.com/kyverno/kyverno)
THANOS_VERSION          := $(call tool-version,thanos,github.com/thanos-io/thanos)
MIMIR_VERSION           := $(call tool-version,mimir,github.com/grafana/mimir)

CROSSPLANE_CLI  := $(TOOLS_DIR)/crossplane-$(CROSSPLANE_CLI_VERSION)
CROSSPLANE_CORE := $(TOOLS_DIR)/crossplane-core-$(CROSSPLANE_CORE_VERSION)-8079
CONTROLLER_GEN  := $(TOOLS_DIR)/controller-gen-$(CONTROLLER_GEN_VERSION)
GOLANGCI_LINT   := $(TOOLS_DIR)/golangci-lint-$(GOLANGCI_LINT_VERSION)
PROMETHEUS      := $(TOOLS_DIR)/prometheus-$(PROMETHEUS_VERSION)
PROMTOOL        := $(TOOLS_DIR)/promtool-$(PROMETHEUS_VERSION)
ETCD            := $(TOOLS_DIR)/etcd-$(ETCD_VERSION)
KUBE_APISERVER  := $(TOOLS_DIR)/kube-apiserver-$(KUBERNETES_VERSION)
KUBE_CONTROLLER_MANAGER := $(TOOLS_DIR)/kube-controller-manager-$(KUBERNETES_VERSION)
KUBECTL         := $(TOOLS_DIR)/kubectl-$(KUBERNETES_VERSION)
KUBELET         := $(TOOLS_DIR)/kubelet-$(KUBERNETES_VERSION)
KUBE_SCHEDULER  := $(TOOLS_DIR)/kube-scheduler-$(KUBERNETES_VERSION)
KUBE_PROXY      := $(TOOLS_DIR)/kube-proxy-$(KUBERNETES_VERSION)
COREDNS         := $(TOOLS_DIR)/coredns-$(COREDNS_VERSION)
KUBE_ROUTER     := $(TOOLS_DIR)/kube-router-$(KUBE_ROUTER_VERSION)
PROVIDER_KUBERNETES := $(TOOLS_DIR)/provider-kubernetes-$(PROVIDER_KUBERNETES_VERSION)
FAKE_GCS_SERVER := $(TOOLS_DIR)/fake-gcs-server-$(FAKE_GCS_SERVER_VERSION)
NEWER_PROMETHEUS := $(TOOLS_DIR)/prometheus-$(NEWER_PROMETHEUS_VERSION)
VICTORIA_METRICS := $(TOOLS_DIR)/victoria-metrics-$(VICTORIA_METRICS_VERSION)
GITEA           := $(TOOLS_DIR)/gitea-$(GITEA_VERSION)
ARGOCD          := $(TOOLS_DIR)/argocd-$(ARGOCD_VERSION)
KYVERNO         := $(TOOLS_DIR)/kyverno-$(KYVERNO_VERSION)
THANOS          := $(TOOLS_DIR)/thanos-$(THANOS_VERSION)
MIMIR           := $(TOOLS_DIR)/mimir-$(MIMIR_VERSION)

# Service discovery for clouds triples the build and nothing here uses it.
PROMETHEUS_TAGS := remove_all_sd

# Without its version Crossplane refuses every package that constrains it.
XP_VERSION := -X github.com/crossplane/crossplane-runtime/v2/pkg/version.version=
# Crossplane's RBAC manager serves metrics on port 8080 of all addresses and has no
# flag for it. Here that is the port of every agent's pod, each on a loopback
# address of its own.
RBAC_METRICS := -X sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=127.0.0.1:8079
# Kubernetes keeps its version in two places; the API server reports an empty
# one, and clients misjudge it, when it isn't set.
kube-version = $(foreach m,k8s.io/component-base/version k8s.io/client-go/pkg/version,-X $(m).gitVersion=$(KUBERNETES_VERSION) -X $(m).gitMajor=1 -X $(m).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES_VERSION))))

$(eval $(call tool-rule,$(CROSSPLANE_CLI),crossplane-cli,github.com/crossplane/cli/v2/cmd/crossplane,$(XP_VERSION)$(CROSSPLANE_CLI_VERSION),4 minutes))
$(eval $(call tool-rule,$(CROSSPLANE_CORE),crossplane-core,github.com/crossplane/crossplane/v2/cmd/crossplane,$(XP_VERSION)$(CROSSPLANE_CORE_VERSION) $(RBAC_METRICS),3 minutes))
$(eval $(call tool-rule,$(CONTROLLER_GEN),controller-gen,sigs.k8s.io/controller-tools/cmd/controller-gen,,1 minute))
$(eval $(call tool-rule,$(GOLANGCI_LINT),golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,-X main.version=$(GOLANGCI_LINT_VERSION),4 minutes))
$(eval $(call tool-rule,$(PROMETHEUS),prometheus,github.com/prometheus/prometheus/cmd/prometheus,-X github.com/prometheus/common/version.Version=$(PROMETHEUS_VERSION),2 minutes,$(PROMETHEUS_TAGS)))
$(eval $(call tool-rule,$(PROMTOOL),prometheus,github.com/prometheus/prometheus/cmd/promtool,-X github.com/prometheus/common/version.Version=$(PROMETHEUS_VERSION),1 minute,$(PROMETHEUS_TAGS)))
$(eval $(call tool-rule,$(ETCD),etcd,go.etcd.io/etcd/server/v3,,1 minute))
$(eval $(call tool-rule,$(KUBE_APISERVER),kubernetes,k8s.io/kubernetes/cmd/kube-apiserver,$(kube-version),5 minutes))
$(eval $(call tool-rule,$(KUBE_CONTROLLER_MANAGER),kubernetes,k8s.io/kubernetes/cmd/kube-controller-manager,$(kube-version),2 minutes))
$(eval $(call tool-rule,$(KUBECTL),kubernetes,k8s.io/kubernetes/cmd/kubectl,$(kube-version),1 minute))
$(eval $(call tool-rule,$(KUBELET),kubernetes,k8s.io/kubernetes/cmd/kubelet,$(kube-version),5 minutes))
$(eval $(call tool-rule,$(KUBE_SCHEDULER),kubernetes,k8s.io/kubernetes/cmd/kube-scheduler,$(kube-version),1 minute))
$(eval $(call tool-rule,$(KUBE_PROXY),kubernetes,k8s.io/kubernetes/cmd/kube-proxy,$(kube-version),1 minute))
$(eval $(call tool-rule,$(COREDNS),coredns,.,-X github.com/coredns/coredns/coremain.GitCommit=$(COREDNS_VERSION),2 minutes))
$(eval $(call tool-rule,$(KUBE_ROUTER),kube-router,.,,2 minutes))
$(eval $(call tool-rule,$(PROVIDER_KUBERNETES),provider-kubernetes,github.com/crossplane-contrib/provider-kubernetes/cmd/provider,-X github.com/crossplane-contrib/provider-kubernetes/internal/version.Version=$(PROVIDER_KUBERNETES_VERSION),2 minutes))
$(eval $(call tool-rule,$(FAKE_GCS_SERVER),fake-gcs-server,github.com/fsouza/fake-gcs-server,,1 minute))
$(eval $(call tool-rule,$(NEWER_PROMETHEUS),prometheus-newer,github.com/prometheus/prometheus/cmd/prometheus,-X github.com/prometheus/common/version.Version=$(NEWER_PROMETHEUS_VERSION),3 minutes,$(PROMETHEUS_TAGS)))
$(eval $(call tool-rule,$(VICTORIA_METRICS),victoriametrics,github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics,-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=$(VICTORIA_METRICS_VERSION),1 minute))
# Gitea's SQLite is C.
$(eval $(call tool-rule,$(GITEA),gitea,code.gitea.io/gitea,-X main.Version=$(GITEA_VERSION:v%=%),6 minutes,sqlite sqlite_unlock_notify,1))
$(eval $(call tool-rule,$(KYVERNO),kyverno,github.com/kyverno/kyverno/cmd/kyverno,,8 minutes))

# The tags are their authors'. Without slicelabels a Thanos dies of its first label; its
# go.mod wants a newer Go than ours.
$(eval $(call tool-rule,$(MIMIR),mimir,github.com/grafana/mimir/cmd/mimir,,20 minutes,netgo stringlabels))
$(eval $(call tool-rule,$(THANOS),thanos,github.com/thanos-io/thanos/cmd/thanos,-X github.com/prometheus/common/version.Version=$(THANOS_VERSION:v%=%),30 minutes,slicelabels,,auto))

# Its go.mod wants a newer Go than ours. With a v before its version the server refuses
# its own command line.
$(eval $(call tool-rule,$(ARGOCD),argo-cd,.,-X github.com/argoproj/argo-cd/v3/common.version=$(ARGOCD_VERSION:v%=%),8 minutes,,,auto))

# Crossplane's own manifests and the provider's package travel in their modules,
# not in their binaries; so do Argo CD's, and Gitea's pages. $(call tool-files,folder to make,module folder,module,folders to copy,toolchain)
define tool-files
$(1):
	@mkdir -p $$(@D); tmp=$$@.building-$$$$$$$$; trap 'rm -rf "$$$$tmp"' EXIT; trap 'exit 130' INT TERM HUP; \
	  src=$$$$(cd $(TOOLS_SRC)/$(2) && export GOWORK=off $(if $(5),GOTOOLCHAIN=$(5)) && go mod download $(3) && go list -mod=readonly -m -f '{{.Dir}}' $(3)) && \
	  mkdir "$$$$tmp" && for f in $(4); do cp -R "$$$$src/$$$$f" "$$$$tmp/" || exit 1; done && chmod -R u+w "$$$$tmp" && \
	  if [ ! -d $$@ ]; then mv "$$$$tmp" $$@; fi
endef

CROSSPLANE_FILES          := $(CROSSPLANE_CORE).files
PROVIDER_KUBERNETES_FILES := $(PROVIDER_KUBERNETES).files
$(eval $(call tool-files,$(CROSSPLANE_FILES),crossplane-core,github.com/crossplane/crossplane/v2,cluster/crds cluster/webhookconfigurations))
ARGOCD_FILES              := $(ARGOCD).files
GITEA_FILES               := $(GITEA).files
$(eval $(call tool-files,$(ARGOCD_FILES),argo-cd,github.com/argoproj/argo-cd/v3,manifests/crds manifests/base/config hack/git-verify-wrapper.sh,auto))
$(eval $(call tool-files,$(GITEA_FILES),gitea,code.gitea.io/gitea,templates options public))
$(eval $(call tool-files,$(PROVIDER_KUBERNETES_FILES),provider-kubernetes,github.com/crossplane-contrib/provider-kubernetes,package))
KYVERNO_FILES := $(KYVERNO).files
$(eval $(call tool-files,$(KYVERNO_FILES),kyverno,github.com/kyverno/kyverno,config/crds))

# The CRDs of the kinds we render, as far as Go modules carry them: CRDS.
CRDS := $(TOOLS_DIR)/crds-$(shell cksum <$(TOOLS_SRC)/schemas/modules.txt | cut -d' ' -f1)
$(CRDS):
	@mkdir -p $(@D)
	@echo "copying CRDs out of Go modules, once for this machine (1 minute) ..." >&2
	@tmp=$@.building-$$$$; trap 'rm -rf "$$tmp"' EXIT; trap 'exit 130' INT TERM HUP; mkdir "$$tmp" && \
	  $(TOOLS_SRC)/schemas/modules.sh "$$tmp" && if [ ! -d $@ ]; then mv "$$tmp" $@; fi

# Backstage's backend, and the page with its form, as their lock files pin them. No script
# of a package is run: the database is PostgreSQL, and nothing is compiled.
BACKSTAGE_SRC := $(TOOLS_SRC)/../../hack/portal
BACKSTAGE := $(TOOLS_DIR)/backstage-$(shell cat $(BACKSTAGE_SRC)/backend/package-lock.json $(BACKSTAGE_SRC)/page/* 2>/dev/null | cksum | cut -d' ' -f1)
$(BACKSTAGE):
	@mkdir -p $(@D)
	@echo "installing Backstage once for this machine (3 minutes, 330 MB) ..." >&2
	@src=$$(cd $(BACKSTAGE_SRC) && pwd); tmp=$@.building-$$$$; trap 'rm -rf "$$tmp"' EXIT; trap 'exit 130' INT TERM HUP; \
	  cp -R "$$src/backend" "$$tmp" && (cd "$$tmp" && npm ci --ignore-scripts --omit=optional --no-progress --loglevel=error) && \
	  cp -R "$$src/page" "$$tmp/source" && (cd "$$tmp/source" && npm ci --ignore-scripts --no-progress --loglevel=error && node build.mjs ../page) && \
	  rm -rf "$$tmp/source" && if [ ! -d $@ ]; then mv "$$tmp" $@; fi

# What a control plane needs; hack/controlplane reads the paths from tools-paths.
CONTROLPLANE_TOOLS := CROSSPLANE_CLI CROSSPLANE_CORE CROSSPLANE_FILES ETCD KUBE_APISERVER KUBE_CONTROLLER_MANAGER KUBECTL \
                      PROVIDER_KUBERNETES PROVIDER_KUBERNETES_FILES PROMETHEUS FAKE_GCS_SERVER

# What make portal needs beside it.
PORTAL_TOOLS := GITEA GITEA_FILES ARGOCD ARGOCD_FILES BACKSTAGE

# What a real node needs beside it.
NODE_TOOLS := KUBELET KUBE_SCHEDULER KUBE_PROXY COREDNS KUBE_ROUTER

.PHONY: tools node-tools tools-paths
tools: $(foreach t,$(CONTROLPLANE_TOOLS),$($(t))) ## build what a control plane needs, once per machine

node-tools: $(foreach t,$(NODE_TOOLS),$($(t)))

tools-paths:
	@$(foreach t,$(CONTROLPLANE_TOOLS) $(PORTAL_TOOLS) $(NODE_TOOLS),echo '$(t)=$($(t))';)
