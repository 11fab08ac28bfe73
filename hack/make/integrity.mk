##@ Integrity

# How long each fuzz target runs.
FUZZTIME ?= 20s
# How many random faults, checks beside builds, and builds beside trims.
CAMPAIGN ?= 1000

# Rounds of each direction of the campaign of go commands, its seed, the time after
# which it ends (0: none; it goes on where it was), and go commands of other
# releases, apart by commas.
ROUNDS ?= 2000
SEED ?= 1
CAMPAIGN_FOR ?= 0
OTHER_GO ?=

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

.PHONY: bench-branch
bench-branch: ## Measure the second push of a branch: a clone alone against a clone and what the branch has built
	@go run ./test/perf/branch

.PHONY: bench-rivals
bench-rivals: ## Measure the time to the first test result with the caches that a CI job can begin with (needs root, mkfs.xfs and /dev/fuse)
	@CGO_ENABLED=0 go run ./test/perf/rivals

.PHONY: perf-big
perf-big: ## Measure warm-up, clone, checks, first build and trim of caches with a million entries and more (needs root, mkfs.xfs and 60 GiB of disk)
	@CGO_ENABLED=0 go run ./test/perf/big

.PHONY: bench-builds
bench-builds: ## Measure a real program cold, on a clone in each declared build, and at the second push of a branch: a clone compiles nothing
	@go run ./test/perf/builds

.PHONY: go-campaign
go-campaign: ## Run ROUNDS random go commands and as many changes of what they leave: no false alarm, no miss
	go test -count=1 -timeout 0 -v -run TestCampaign ./test/perf/campaign -args -rounds $(ROUNDS) -seed $(SEED) -for $(CAMPAIGN_FOR) \
		-state $(CURDIR)/bin/campaign-$(SEED).json -others "$(OTHER_GO)"

.PHONY: integrity-campaign
integrity-campaign: ## Damage caches at random CAMPAIGN times, check beside builds, run go-campaign, kill cleanings, check other releases
	GOCACHE_CAMPAIGN=$(CAMPAIGN) go test -count=1 -timeout 2h -v -run 'TestRandomDamage|TestOtherReleases' ./internal/agent/repair
	GOCACHE_CAMPAIGN=$$(( ($(CAMPAIGN) + 4) / 5 )) go test -count=1 -timeout 2h -v -run 'TestNoFalseAlarm|TestTrimBesideBuilds' ./internal/agent/verify
	@$(MAKE) --no-print-directory go-campaign
	GOCACHE_CAMPAIGN=$$(( ($(CAMPAIGN) + 19) / 20 )) go test -count=1 -timeout 2h -v -run 'TestKilled' ./internal/agent/cleanup
