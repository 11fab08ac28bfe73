##@ Build

# The image of all programs; the local cluster and config/local use this name.
IMG ?= gocache.dev/operator:dev
# Platforms of docker-buildx.
PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: build
build: ## Build all programs, static, into bin.
	@mkdir -p $(BIN)
	go build -trimpath -ldflags '-s -w' -o $(BIN)/manager .
	go build -trimpath -ldflags '-s -w' -o $(BIN)/ \
	  $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./internal/cmd/...)

.PHONY: docker-build
docker-build: ## Build the image IMG with Docker, for CLUSTER=kind or a registry.
	docker build -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build and push the image IMG for all PLATFORMS.
	docker buildx build --platform $(PLATFORMS) --push -t $(IMG) .
