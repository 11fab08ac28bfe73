# Tools that are pinned and installed into bin. The version stands in the file
# name, so that a bump installs anew and nobody runs a stale tool.

BIN := $(CURDIR)/bin

CONTROLLER_GEN_VERSION := v0.23.0
GOLANGCI_LINT_VERSION := v2.15.0
D2_VERSION := v0.7.1
HELM_VERSION := v3.22.0
FREEZE_VERSION := v0.2.2

# Prometheus is the one whose engine tests the alerts; hack/monitoring/go.mod names it.
PROMETHEUS_VERSION := $(shell sed -n 's|.*github.com/prometheus/prometheus \(v[0-9.]*\).*|\1|p' $(CURDIR)/hack/monitoring/go.mod)

CONTROLLER_GEN := $(BIN)/controller-gen-$(CONTROLLER_GEN_VERSION)
GOLANGCI_LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
D2 := $(BIN)/d2-$(D2_VERSION)
HELM := $(BIN)/helm-$(HELM_VERSION)
FREEZE := $(BIN)/freeze-$(FREEZE_VERSION)
PROMETHEUS := $(BIN)/prometheus-$(PROMETHEUS_VERSION)

# install PACKAGE VERSION FILE: go install into a directory of its own, then
# one rename, so that an interrupted build leaves no half-written tool.
define install
	@echo "Building $(notdir $(3)) once; this takes a while."
	@mkdir -p $(BIN)
	@dir=$$(mktemp -d $(BIN)/.install.XXXXXX) && trap 'rm -rf "$$dir"' EXIT && \
	  GOBIN=$$dir GOFLAGS= go install $(1)@$(2) && mv "$$dir"/* $(3)
endef

$(CONTROLLER_GEN):
	$(call install,sigs.k8s.io/controller-tools/cmd/controller-gen,$(CONTROLLER_GEN_VERSION),$@)

$(GOLANGCI_LINT):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION),$@)

$(D2):
	$(call install,oss.terrastruct.com/d2,$(D2_VERSION),$@)

$(HELM):
	$(call install,helm.sh/helm/v3/cmd/helm,$(HELM_VERSION),$@)

$(FREEZE):
	$(call install,github.com/charmbracelet/freeze,$(FREEZE_VERSION),$@)

# Of all that Prometheus can find targets by, Kubernetes alone, and no user interface.
$(PROMETHEUS):
	@echo "Building $(notdir $@) once; this takes a while."
	@mkdir -p $(BIN)
	@cd hack/monitoring && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -tags remove_all_sd,enable_kubernetes_sd -o $@.new \
	  github.com/prometheus/prometheus/cmd/prometheus && mv $@.new $@
