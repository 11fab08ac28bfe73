##@ Test

# How long one go test may take before it is killed with a stack trace.
TEST_TIMEOUT ?= 25m
E2E_TIMEOUT ?= 40m
# Without the part of go vet that go test runs: it would be run for each way in which
# packages are built, and make lint runs all of it, over the tests too.
GO_TEST := go test -vet=off

# The unit tests of what has goroutines run under the race detector, which needs
# gcc. The others are left out, because nothing can race in them and they would
# cost minutes: the simulations of internal/plan compute for a minute without it,
# and most of internal/kube would compile Kubernetes' libraries once more. A test in
# hack/imports holds that no package of the agent, the domain, the proxy and the
# router is left out that has some.
# RACE=0 turns it off; RACE=1 turns it on for all unit and integration tests.
RACED := /internal/(agent|domain/(exitcode|gitrepo|goenv|goproxy|integrity|probe|redact|untrusted)|proxy|router|kube/webhook|plan/queue)(/|$$)
RACE_TEST = CGO_ENABLED=1 $(GO_TEST) -race
ifeq ($(RACE),0)
RACED := ^$$
else ifeq ($(RACE),1)
RACED := .
TEST_ENV := CGO_ENABLED=1
TEST_FLAGS := -race
endif

# A test needs an API server if, and only if, it imports the package that
# starts one; so nobody has to keep a list.
SERVER_PACKAGE := gocache.dev/operator/internal/testing/env
LIST_TESTS = go list -f '{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}} ' ./... \
  | grep -vE '^[^ ]+/test/(e2e|perf|upgrade|walkthrough)[ /]'

# Tests beside an API server wait for it more than they compute.
SERVER_PARALLEL ?= 8

.PHONY: test
test: ## Run every test: unit, integration (real API server), e2e (real cluster, needs root)
	$(PREREQUISITES) all
	@$(MAKE) test-unit test-integration test-e2e

# Some packages wait for processes and clocks: so many are tested at once.
UNIT_PACKAGES ?= 4

.PHONY: test-unit
test-unit: ## Run the tests that need no API server and no cluster, with the race detector where there are goroutines (RACE=0: without, RACE=1: for all)
	$(PREREQUISITES) unit
	@packages=$$($(LIST_TESTS) | grep -vF ' $(SERVER_PACKAGE) ' | cut -d' ' -f1); code=0; \
	raced=$$(grep -E '$(RACED)' <<<"$$packages" || true); others=$$(grep -vE '$(RACED)' <<<"$$packages" || true); \
	[ -z "$$raced" ] || $(RACE_TEST) -p $(UNIT_PACKAGES) -timeout $(TEST_TIMEOUT) $$raced || code=1; \
	[ -z "$$others" ] || $(GO_TEST) -p $(UNIT_PACKAGES) -timeout $(TEST_TIMEOUT) $$others || code=1; \
	exit $$code
	@cd hack/devcluster && $(TEST_ENV) $(GO_TEST) $(TEST_FLAGS) -timeout $(TEST_TIMEOUT) ./...
	@# Not cached: what these tests read outside of their module may have changed.
	@cd hack/release && $(GO_TEST) -count=1 -timeout $(TEST_TIMEOUT) ./...
	@cd hack/monitoring && $(GO_TEST) -count=1 -timeout $(TEST_TIMEOUT) ./...

# Of the crash points, test-integration runs a sample: each flow undisturbed, and
# killed at every so-many-th of its writes. crash-points kills at each.
CRASH_POINTS_EVERY ?= 16

.PHONY: test-integration
test-integration: ## Run the tests that need a kube-apiserver and etcd (built the first time: minutes)
	$(PREREQUISITES) integration
	@packages=$$($(LIST_TESTS) | grep -F ' $(SERVER_PACKAGE) ' | cut -d' ' -f1); \
	assets=$${KUBEBUILDER_ASSETS:-$$($(MAKE) -s kubebuilder-assets)}; \
	KUBEBUILDER_ASSETS=$$assets CRASH_POINTS_EVERY=$(CRASH_POINTS_EVERY) $(TEST_ENV) $(GO_TEST) $(TEST_FLAGS) -parallel $(SERVER_PARALLEL) -timeout $(TEST_TIMEOUT) $$packages

# A package has a crash suite if, and only if, its tests import the frame.
CRASH_PACKAGE := gocache.dev/operator/internal/testing/crash
CRASH_TIMEOUT ?= 30m

.PHONY: crash-points
crash-points: ## Kill the controllers before and after each API write of every flow (real API server)
	$(PREREQUISITES) integration
	@packages=$$($(LIST_TESTS) | grep -F ' $(CRASH_PACKAGE) ' | cut -d' ' -f1); \
	assets=$${KUBEBUILDER_ASSETS:-$$($(MAKE) -s kubebuilder-assets)}; \
	KUBEBUILDER_ASSETS=$$assets CRASH_POINTS_EVERY=1 go run ./test/crash -timeout $(CRASH_TIMEOUT) -parallel $(SERVER_PARALLEL) $$packages

# How often crash-random kills the manager, and the seed that repeats a run.
CRASH_ROUNDS ?= 50
CRASH_SEED ?=
# Empty: one node. 3 to 5: a cluster of so many, of which some are drained or lose their
# power in the midst of a flow.
CRASH_NODES ?=

.PHONY: crash-random
crash-random: ## Kill the manager CRASH_ROUNDS times at random moments of every flow (real cluster; CRASH_NODES=3: nodes are drained and lost, too)
	$(PREREQUISITES) e2e
	CRASH_ROUNDS=$(CRASH_ROUNDS) CRASH_SEED=$(CRASH_SEED) $(if $(CRASH_NODES),NODES=$(CRASH_NODES) CLUSTER_NAME=gocache-nodes) \
	  go test -v -count=1 -timeout 3h -run '^TestRandomKills$$' ./test/e2e

# The release of Athens that test-athens builds from its module.
ATHENS_VERSION ?= v0.18.0
ATHENS_DIR := $(CURDIR)/bin/athens-$(ATHENS_VERSION)

.PHONY: test-athens
test-athens: ## Run the tests of the agent beside Athens with Athens itself (ATHENS_VERSION; downloads and builds it)
	$(PREREQUISITES) build
	@rm -rf $(ATHENS_DIR)/source && mkdir -p $(ATHENS_DIR)
	@cp -r "$$(go mod download -json github.com/gomods/athens@$(ATHENS_VERSION) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')" $(ATHENS_DIR)/source
	@chmod -R u+w $(ATHENS_DIR)/source && cd $(ATHENS_DIR)/source && CGO_ENABLED=0 go build -o ../proxy ./cmd/proxy
	go test -v -count=1 -run 'BesideAthens$$' ./internal/agent/store -args -athens $(ATHENS_DIR)/proxy

# How many nodes test-nodes starts, 3 to 5.
NODES ?= 3
# For how long it stops the API server.
OUTAGE ?= 10m

.PHONY: test-nodes
test-nodes: ## Drain, freeze, disconnect and remove nodes of a cluster of NODES (real cluster, not a part of test)
	$(PREREQUISITES) e2e
	NODES=$(NODES) OUTAGE=$(OUTAGE) CLUSTER_NAME=gocache-nodes go test -v -count=1 -timeout 90m -run '^TestNodes$$' ./test/e2e

.PHONY: test-storage
test-storage: ## Let the storage limit sizes and rates as clouds and thin LVM do (real cluster, not a part of test)
	$(PREREQUISITES) e2e
	STORAGE=1 CLUSTER_NAME=gocache-storage go test -v -count=1 -timeout 40m -run '^TestStorage$$' ./test/e2e

.PHONY: test-cgo
test-cgo: ## Warm builds with cgo and -race, in an image made from Debian's packages: builds on a clone compile nothing (real cluster, not a part of test)
	$(PREREQUISITES) e2e integration
	COMPILER=1 CLUSTER_NAME=$${CLUSTER_NAME:-gocache-cgo} go test -v -count=1 -timeout 40m -run '^TestCompiler$$' ./test/e2e

# How long perf watches the operator at rest.
PERF_REST ?= 10m

.PHONY: perf
perf: ## Measure clones, snapshot cycles and the operator at rest (real cluster), a line for each
	$(PREREQUISITES) e2e
	PERF_REST=$(PERF_REST) go test -v -count=1 -timeout 60m -run '^TestPerformance$$' ./test/e2e

# Stories that keep to themselves mostly wait: so many are told at once.
E2E_PARALLEL ?= 6
# How many clones are asked for at once. What happens for fifty is the same, and takes
# minutes; the tests of the populator ask the API server alone for as many.
CLAIMS ?= 18

# How many times larger the fleet of bench-operator is, and which of its tests run.
FLEET_SCALE ?= 1
FLEET_TESTS ?= .

.PHONY: bench-operator
bench-operator: ## Measure a manager with 1,000 caches at rest, and one among hostile servers (real API server; FLEET_SCALE=10: 10,000 caches)
	$(PREREQUISITES) integration
	@assets=$${KUBEBUILDER_ASSETS:-$$($(MAKE) -s kubebuilder-assets)}; \
	KUBEBUILDER_ASSETS=$$assets FLEET_SCALE=$(FLEET_SCALE) go test -v -count=1 -timeout 2h -run '$(FLEET_TESTS)' ./test/perf/fleet

# The image of the Prometheus that end-to-end tests run in the local cluster.
PROMETHEUS_IMAGE ?= gocache.dev/prometheus:test

.PHONY: prometheus-image
prometheus-image: $(PROMETHEUS) devcluster
	@mkdir -p dist
	@$(DEVCLUSTER) image binaries --ref $(PROMETHEUS_IMAGE) --entrypoint /prometheus -o $(CURDIR)/dist/prometheus.tar $(PROMETHEUS)=/prometheus >/dev/null

.PHONY: test-e2e
test-e2e: ## Run the stories on a real cluster (CLUSTER=local, kind or current)
	$(PREREQUISITES) e2e
	CLAIMS=$(CLAIMS) $(GO_TEST) -v -count=1 -parallel $(E2E_PARALLEL) -timeout $(E2E_TIMEOUT) ./test/e2e/...

# The tests of what a person sees, and those that provoke an alert.
OBSERVED_TESTS := TestMetrics|TestPlugin|TestPluginOnVolumes|TestPluginRequests|TestMaintenance|TestPoisonedStore|TestKilledInstance

.PHONY: test-observed
test-observed: ## Let alerts fire in a real Prometheus, built the first time, and run each command of the plugin (real cluster)
	$(PREREQUISITES) e2e
	OBSERVED=1 go test -v -count=1 -parallel $(E2E_PARALLEL) -timeout $(E2E_TIMEOUT) -run '^($(OBSERVED_TESTS))$$' ./test/e2e

# What the end-to-end tests configure Prometheus with: it takes minutes to compile.
.PHONY: test-monitors
test-monitors: ## Compare hack/monitoring/testdata with what the Prometheus operator makes of config/prometheus
	cd hack/monitoring/operator && go vet ./... && go test -count=1 -timeout $(TEST_TIMEOUT) ./...

.PHONY: test-walkthrough
test-walkthrough: ## Run the commands of docs/ci/walkthrough.md, and the runner's pod, on the local cluster
	$(PREREQUISITES) e2e
	WALKTHROUGH=1 go test -v -count=1 -timeout 75m ./test/walkthrough

##@ Demo

.PHONY: demo
demo: ## Start a real cluster here and show the operator on it, after installing what is missing (CLUSTER=local, kind or current)
	$(PREREQUISITES) demo
	go run ./hack/demo up

# What the pictures show is what the commands print there and then.
.PHONY: recordings
recordings: ## Play the demo under Prometheus, and draw what the plugin prints and the dashboard shows into docs/recordings
	$(PREREQUISITES) demo
	@$(MAKE) $(FREEZE)
	go run ./hack/demo record $(FREEZE)

.PHONY: demo-down
demo-down: ## Remove the cluster of demo, or from another cluster its namespace and what demo installed
	go run ./hack/demo down
