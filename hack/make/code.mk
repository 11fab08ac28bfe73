##@ Code

.PHONY: generate
generate: generate-api generate-rbac generate-docs ## Regenerate deep copies, CRDs, RBAC and the tables of the docs from the code

.PHONY: generate-api
generate-api: $(CONTROLLER_GEN)
	$(CONTROLLER_GEN) object paths=./api/...
	$(CONTROLLER_GEN) crd:maxDescLen=300 paths=./api/... output:crd:dir=config/crd/bases

.PHONY: generate-rbac
generate-rbac: $(CONTROLLER_GEN)
	$(CONTROLLER_GEN) rbac:roleName=manager paths=./controllers/... output:rbac:dir=config/rbac

.PHONY: generate-docs
generate-docs: generate-api
	go run ./hack/docs

# Not a part of generate: a picture changes rarely, and the tool is large.
.PHONY: pictures
pictures: $(D2) ## Draw docs/pictures/*.svg from the .d2 files beside them
	@for source in docs/pictures/*.d2; do \
	  $(D2) --layout dagre --theme 0 --pad 20 "$$source" "$${source%.d2}.svg" && chmod 644 "$${source%.d2}.svg" || exit 1; \
	done

.PHONY: fmt
fmt: ## Format all Go files
	@git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r gofmt -l -w

.PHONY: vet
vet: ## Run go vet
	go vet ./...
	cd hack/devcluster && go vet ./...
	cd hack/release && go vet ./...
	cd hack/monitoring && go vet ./...

.PHONY: lint
lint: words $(GOLANGCI_LINT) ## Check the words, and run golangci-lint with .golangci.yml over all modules
	$(GOLANGCI_LINT) run ./...
	cd hack/devcluster && $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...
	cd hack/release && $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...
	cd hack/monitoring && $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...

.PHONY: imports
imports: ## Check which package imports which, in under a second
	go test ./hack/imports/

.PHONY: words
words: ## Check that pages, comments, messages and names use one word for one thing (ARGS=-summary counts, ARGS=docs picks a path)
	go run ./hack/words $(ARGS)

.PHONY: verify
verify: generate fmt ## Regenerate and format everything, fail if the work tree differs from the last commit, and check the lists of pages and commands
	@changed=$$(git status --porcelain); \
	if [ -n "$$changed" ]; then \
	  echo "verify: the work tree differs from the last commit; commit what is yours, and what was regenerated:"; \
	  echo "$$changed"; git --no-pager diff --stat; exit 1; \
	fi
	@echo "verify: the work tree is clean after regenerating"
	@# Tables of the docs, prerequisites, imports: each has to follow a change elsewhere.
	go test ./hack/...
