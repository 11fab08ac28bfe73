##@ Integrity

# How long each fuzz target runs.
FUZZTIME ?= 20s
# How many random faults, checks beside builds, and builds beside trims.
CAMPAIGN ?= 1000

# Every fuzz target of the domain, found by its name: nobody has to keep a list.
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME
	@grep -rHo --include='*_test.go' 'func Fuzz[A-Za-z0-9]*' internal | sed 's/:func / /' | while read -r file target; do \
	  echo "$$target ($$(dirname $$file))"; \
	  go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	done

.PHONY: bench
bench: ## Measure checks against go mod verify (BENCH=full, incremental, gocache, workers, growth or memory picks one)
	@BENCH=$(BENCH) go run ./test/perf/integrity

.PHONY: integrity-campaign
integrity-campaign: ## Damage caches at random CAMPAIGN times, check beside builds, kill cleanings, and check other Go releases
	GOCACHE_CAMPAIGN=$(CAMPAIGN) go test -count=1 -timeout 2h -v -run 'TestRandomDamage|TestOtherReleases' ./internal/agent/repair
	GOCACHE_CAMPAIGN=$$(( ($(CAMPAIGN) + 4) / 5 )) go test -count=1 -timeout 2h -v -run 'TestNoFalseAlarm|TestTrimBesideBuilds' ./internal/agent/verify
	GOCACHE_CAMPAIGN=$$(( ($(CAMPAIGN) + 19) / 20 )) go test -count=1 -timeout 2h -v -run 'TestKilled' ./internal/agent/cleanup
