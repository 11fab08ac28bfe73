##@ Mutation

# What is changed: patterns of packages. Their own tests are all that is run.
MUTATION_PACKAGES ?= ./internal/domain/... ./internal/plan/...
# How many changes, and the seed that repeats a run.
MUTATION_CHANGES ?= 100
MUTATION_SEED ?= 1
# How many changes of one package; 0: any number. With MUTATION_CHANGES=0, each
# package has a score of about the same weight.
MUTATION_EACH ?= 0
# No change is begun after this time.
MUTATION_BUDGET ?= 1h
# Anything but empty: packages whose tests start an API server are changed, too. Their
# tests take minutes for each change; KUBEBUILDER_ASSETS must be set.
MUTATION_SERVERS ?=
# How many changes are tried at once.
MUTATION_PARALLEL ?= 2

.PHONY: mutation
mutation: ## Make single changes to the code at random, and print how many of them the packages' own tests notice
	@go run ./hack/mutation -seed $(MUTATION_SEED) -n $(MUTATION_CHANGES) -each $(MUTATION_EACH) -budget $(MUTATION_BUDGET) -parallel $(MUTATION_PARALLEL) $(if $(MUTATION_SERVERS),-servers) -packages '$(MUTATION_PACKAGES)'
