##@ General

# The first line of each rule that compiles for minutes, or needs more than Go:
# what is missing is found before anything is built.
PREREQUISITES := @TARGETS='$(MAKECMDGOALS)' $(CURDIR)/hack/prerequisites/check.sh

.PHONY: prerequisites
prerequisites: ## Check, and as root on Debian install, what all targets need (INSTALL=no: print the command line)
	$(PREREQUISITES) all
