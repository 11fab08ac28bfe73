##@ Build

# The image of all programs; the local cluster and config/local use this name.
IMG ?= gocache.dev/operator:dev
# Platforms of docker-buildx.
PLATFORMS ?= linux/amd64,linux/arm64

# What --version prints: a release, else what git knows.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
VERSION_PACKAGE := gocache.dev/operator/internal/domain/version
LDFLAGS = -s -w -X $(VERSION_PACKAGE).version=$(VERSION) -X $(VERSION_PACKAGE).commit=$(COMMIT)

.PHONY: build
build: ## Build all programs, static, into bin
	@mkdir -p $(BIN)
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/manager .
	go build -ldflags '$(LDFLAGS)' -o $(BIN)/ \
	  $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./internal/cmd/...)

.PHONY: image
image: build devcluster ## Write the image IMG as an archive to dist/operator.tar, without Docker
	@mkdir -p dist
	@programs=$$(go list -f '{{if eq .Name "main"}}$(BIN)/{{.ImportPath}}{{end}}' ./internal/cmd/gocache-... | sed 's|gocache.dev/operator/internal/cmd/||'); \
	$(DEVCLUSTER) image binaries --ref $(IMG) --entrypoint /manager -o $(CURDIR)/dist/operator.tar $(BIN)/manager $$programs "$$(go env GOROOT)/go.env=/usr/local/go/go.env"

.PHONY: docker-build
docker-build: ## Build the image IMG with Docker, for CLUSTER=kind or a registry
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build and push the image IMG for all PLATFORMS
	docker buildx build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --platform $(PLATFORMS) --push -t $(IMG) .

##@ Deploy

# kubectl builds the kustomizations too: no other tool is needed.
KUBECTL ?= kubectl

.PHONY: install
install: ## Install the CRDs alone, into the cluster that kubectl speaks to
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: deploy
deploy: ## Deploy the operator with image IMG, into the cluster that kubectl speaks to
	$(KUBECTL) kustomize config/default | sed 's|gocache.dev/operator:dev|$(IMG)|; s|\(app.kubernetes.io/version:\) dev|\1 $(or $(VERSION),dev)|' | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator, its CRDs and with them all its objects
	$(KUBECTL) delete --ignore-not-found -k config/default
