##@ Build

# The image of all programs; the local cluster and config/local use this name.
IMG ?= gocache.dev/operator:dev
# Platforms of docker-buildx.
PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: build
build: ## Build all programs, static, into bin
	@mkdir -p $(BIN)
	go build -ldflags '-s -w' -o $(BIN)/manager .
	go build -ldflags '-s -w' -o $(BIN)/ \
	  $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./internal/cmd/...)

.PHONY: image
image: build devcluster ## Write the image IMG as an archive to dist/operator.tar, without Docker
	@mkdir -p dist
	@programs=$$(go list -f '{{if eq .Name "main"}}$(BIN)/{{.ImportPath}}{{end}}' ./internal/cmd/... | sed 's|gocache.dev/operator/internal/cmd/||'); \
	$(DEVCLUSTER) image binaries --ref $(IMG) --entrypoint /manager -o $(CURDIR)/dist/operator.tar $(BIN)/manager $$programs "$$(go env GOROOT)/go.env=/usr/local/go/go.env"

.PHONY: docker-build
docker-build: ## Build the image IMG with Docker, for CLUSTER=kind or a registry
	docker build -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build and push the image IMG for all PLATFORMS
	docker buildx build --platform $(PLATFORMS) --push -t $(IMG) .

##@ Deploy

# kubectl builds the kustomizations too: no other tool is needed.
KUBECTL ?= kubectl

.PHONY: install
install: ## Install the CRDs alone, into the cluster that kubectl speaks to
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: deploy
deploy: ## Deploy the operator with image IMG, into the cluster that kubectl speaks to
	$(KUBECTL) kustomize config/default | sed 's|gocache.dev/operator:dev|$(IMG)|' | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator, its CRDs and with them all its objects
	$(KUBECTL) delete --ignore-not-found -k config/default
