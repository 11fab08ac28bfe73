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

# A helm that go install has built takes a cluster that it does not see for v1.20.
OLDEST_KUBERNETES = $(shell sed -n 's|^kubeVersion: ">=\([0-9.]*\).*|\1|p' $(CURDIR)/config/chart/Chart.yaml)

.PHONY: chart-lint
chart-lint: $(HELM) chart ## Lint the chart with helm, built once into bin, and render it as helm does
	$(HELM) lint --strict $(CHART)
	$(HELM) template gocache $(CHART) --namespace gocache-system --kube-version $(OLDEST_KUBERNETES) >/dev/null

.PHONY: deploy-chart
deploy-chart: $(HELM) chart ## Install or upgrade the chart with image IMG, into the cluster that kubectl speaks to (ARGS adds flags of helm)
	$(HELM) upgrade --install gocache $(CHART) --namespace gocache-system --create-namespace --set-string image.tag=$(IMAGE_TAG) --wait --timeout 3m $(ARGS)

# Where the files of a release are published, for the manifest of krew.
RELEASE_URL ?= https://gocache.dev/operator/releases/$(VERSION)
# A file with an Ed25519 key in PEM; empty: nothing is signed.
RELEASE_KEY ?=
# 1: try a release from a commit without its tag, or from a changed work tree.
ALLOW_DIRTY ?=
# With ALLOW_DIRTY: the only platform to build for, such as linux/amd64.
RELEASE_PLATFORM ?=
# -trimpath: what the tool has in common with the programs is compiled once.
RELEASE = cd $(RELEASE_DIR) && go run -trimpath . build --version '$(VERSION)' --repository '$(IMAGE_REPOSITORY)' --url '$(RELEASE_URL)' \
  $(if $(RELEASE_KEY),--key '$(abspath $(RELEASE_KEY))') $(if $(ALLOW_DIRTY),--allow-dirty) $(if $(RELEASE_PLATFORM),--platform '$(RELEASE_PLATFORM)')

.PHONY: release
release: ## Build all files of the release VERSION into dist/VERSION, without a network (RELEASE_KEY signs, ALLOW_DIRTY=1 tries)
	$(PREREQUISITES) build
	@[ -n '$(VERSION)' ] || { echo "make release: set VERSION to the tag, such as VERSION=v0.1.0" >&2; exit 1; }
	@rm -rf '$(CURDIR)/dist/$(VERSION)' && mkdir -p dist
	@$(RELEASE) --root $(CURDIR) --out '$(CURDIR)/dist/$(VERSION)'
	@ls -l 'dist/$(VERSION)'

# The build cache of the second build; empty: a new one, so that everything is
# compiled again, because the go command does not hash what it takes from a cache.
RELEASE_CHECK_CACHE ?=

.PHONY: release-check
release-check: release ## Build the release VERSION once more in another clone, with an empty build cache, and compare every file
	@temp=$$(mktemp -d) && trap 'rm -rf "$$temp"' EXIT && git clone -q . "$$temp/clone" && \
	  git -C "$$temp/clone" checkout -q "$$(git rev-parse HEAD)" && \
	  go mod verify && (cd $(RELEASE_DIR) && go mod verify) && export GOCACHE="$(or $(RELEASE_CHECK_CACHE),$$temp/cache)" && \
	  ($(RELEASE) --root "$$temp/clone" --out "$$temp/out") && diff -r 'dist/$(VERSION)' "$$temp/out" && \
	  echo "release-check: $$(ls "$$temp/out" | wc -l) files are identical"

.PHONY: test-upgrade
test-upgrade: ## Install a release by its chart, upgrade it to the next under go commands, and remove it (local cluster)
	$(PREREQUISITES) demo
	@$(MAKE) $(HELM)
	HELM=$(HELM) go test -v -count=1 -timeout 60m -run '^TestReleases$$' ./test/upgrade

.PHONY: test-release
test-release: ## Install the release VERSION that make release has built, by its chart, with the samples, and uninstall it (local cluster)
	$(PREREQUISITES) demo
	@$(MAKE) $(HELM)
	HELM=$(HELM) RELEASE='$(CURDIR)/dist/$(VERSION)' go test -v -count=1 -timeout 30m -run '^TestRelease$$' ./test/upgrade
