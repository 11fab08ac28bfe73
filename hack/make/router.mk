##@ Router

# The faults of failover-table, separated by commas; empty: all but flap.
FAULT ?=
# Go commands per fault, and for each of the baselines.
COMMANDS ?= 500
BASELINES ?= 100

.PHONY: failover-table
failover-table: ## Break an instance of a proxy in every way under real go commands on a real cluster, and count failed commands (FAULT=kill,flap picks some)
	$(PREREQUISITES) demo
	@go run ./test/perf/failover -faults '$(FAULT)' -commands $(COMMANDS) -baselines $(BASELINES)

.PHONY: bench-router
bench-router: ## Measure the router against the instance directly: requests/s, p99 and processor time for a .mod and a large .zip
	$(PREREQUISITES) unit
	@go run ./test/perf/router
