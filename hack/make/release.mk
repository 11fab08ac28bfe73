##@ Release

# What is released is made by a Go module of its own: the operator's stays small.
RELEASE_DIR := $(CURDIR)/hack/release
CHART := $(CURDIR)/dist/chart/gocache-operator
# The repository of an image name that may have a tag.
IMAGE_REPOSITORY = $(shell sed 's|:[^/:]*$$||' <<<'$(IMG)')
IMAGE_TAG = $(shell sed -n 's|.*:\([^/:]*\)$$|\1|p' <<<'$(IMG)')

.PHONY: chart
chart: ## Generate the Helm chart into dist/chart, with the values and templates of config
	@rm -rf $(CHART)
	@cd $(RELEASE_DIR) && go run . chart --version '$(or $(VERSION),dev)' --repository '$(IMAGE_REPOSITORY)' --out $(CHART)
	@echo "$(CHART)"

.PHONY: chart-lint
chart-lint: $(HELM) chart ## Lint the chart with helm, built once into bin, and render it as helm does
	$(HELM) lint --strict $(CHART)
	$(HELM) template gocache $(CHART) --namespace gocache-system >/dev/null

.PHONY: deploy-chart
deploy-chart: $(HELM) chart ## Install or upgrade the chart with image IMG, into the cluster that kubectl speaks to (ARGS adds flags of helm)
	$(HELM) upgrade --install gocache $(CHART) --namespace gocache-system --create-namespace --set image.tag=$(IMAGE_TAG) --wait --timeout 3m $(ARGS)
