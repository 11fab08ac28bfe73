##@ Code

.PHONY: generate
generate: generate-api generate-rbac generate-docs ## Regenerate deep copies, CRDs, RBAC and the tables of the docs from the code

# controller_gen ARGUMENTS, DIRECTORY: runs it, and copies those files to the directory
# that differ. The others keep their time, and with it the results of tests that read
# them, which go test has cached.
define controller_gen
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && \
	  $(CONTROLLER_GEN) $(1):dir="$$new" && \
	  for file in "$$new"/*; do cmp -s "$$file" "$(2)/$${file##*/}" || cp "$$file" "$(2)/"; done
endef

.PHONY: generate-api
generate-api: $(CONTROLLER_GEN)
	$(call controller_gen,object paths=./api/... output:object,api/v1alpha1)
	$(call controller_gen,crd:maxDescLen=300 paths=./api/... output:crd,config/crd/bases)

.PHONY: generate-rbac
generate-rbac: $(CONTROLLER_GEN)
	$(call controller_gen,rbac:roleName=manager paths=./controllers/... output:rbac,config/rbac)

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

# Flags of golangci-lint, such as --timeout=60m for one that is to leave the processors to others.
LINT_FLAGS ?=
LINT = $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml $(LINT_FLAGS) ./...

.PHONY: lint
lint: words $(GOLANGCI_LINT) ## Check the words, and run golangci-lint with .golangci.yml over all modules
	$(LINT)
	cd hack/devcluster && $(LINT)
	cd hack/release && $(LINT)
	cd hack/monitoring && $(LINT)

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
