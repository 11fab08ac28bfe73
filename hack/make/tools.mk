# Tools that are pinned and installed into bin. The version stands in the file
# name, so that a bump installs anew and nobody runs a stale tool.

BIN := $(CURDIR)/bin

CONTROLLER_GEN_VERSION := v0.23.0
GOLANGCI_LINT_VERSION := v2.15.0
D2_VERSION := v0.7.1
HELM_VERSION := v3.22.0

CONTROLLER_GEN := $(BIN)/controller-gen-$(CONTROLLER_GEN_VERSION)
GOLANGCI_LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
D2 := $(BIN)/d2-$(D2_VERSION)
HELM := $(BIN)/helm-$(HELM_VERSION)

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
