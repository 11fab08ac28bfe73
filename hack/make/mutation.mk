##@ Mutation

# What is changed: patterns of packages. Those whose tests need an API server
# are left out, and the others' own tests are all that is run.
MUTATION_PACKAGES ?= ./internal/domain/... ./internal/plan/...
# How many changes, and the seed that repeats a run.
MUTATION_CHANGES ?= 100
MUTATION_SEED ?= 1
# No change is begun after this time.
MUTATION_BUDGET ?= 1h
# How many changes are tried at once.
MUTATION_PARALLEL ?= 2

.PHONY: mutation
mutation: ## Make single changes to the code at random, and print how many of them the packages' own tests notice
	@go run ./hack/mutation -seed $(MUTATION_SEED) -n $(MUTATION_CHANGES) -budget $(MUTATION_BUDGET) -parallel $(MUTATION_PARALLEL) -packages '$(MUTATION_PACKAGES)'
