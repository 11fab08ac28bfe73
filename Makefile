# The operator's build. `make help` lists what can be asked for; the parts
# live in hack/make, one file per subject.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Every program is static: it runs in an image without a C library.
export CGO_ENABLED := 0

# The tools first: rules name them as prerequisites, which make expands as it reads.
include hack/make/tools.mk
include $(filter-out hack/make/tools.mk,$(wildcard hack/make/*.mk))

##@ General

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET [NAME=value]" } \
	  /^##@ / { section = substr($$0, 5); next } \
	  /^[a-z][a-z0-9-]*:.*## / { if (!(section in seen)) { seen[section] = 1; order[++n] = section } \
	    lines[section] = lines[section] sprintf("  %-20s %s\n", $$1, $$2) } \
	  END { for (i = 1; i <= n; i++) printf "\n%s\n%s", order[i], lines[order[i]] }' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove what the build left here (not the local cluster: see demo-down)
	rm -rf bin dist
