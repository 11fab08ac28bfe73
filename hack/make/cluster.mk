##@ Local cluster

# The local cluster: see hack/devcluster/README.md. CLUSTER_NAME chooses among
# several; everything else is a flag of hack/devcluster.

CLUSTER_NAME ?= gocache
DEVCLUSTER_DIR := $(CURDIR)/hack/devcluster
DEVCLUSTER := $(CURDIR)/bin/devcluster
DEVCLUSTER_RUN = $(DEVCLUSTER) --name $(CLUSTER_NAME)

# The go command knows better than make whether anything has changed.
.PHONY: devcluster
devcluster:
	@CGO_ENABLED=0 go build -C $(DEVCLUSTER_DIR) -trimpath -o $(DEVCLUSTER) .

.PHONY: cluster-up
cluster-up: ## Start the local cluster (builds Kubernetes the first time: minutes) and wait until it is usable
	$(PREREQUISITES) cluster
	@$(MAKE) devcluster
	@$(DEVCLUSTER_RUN) up

.PHONY: cluster-down
cluster-down: devcluster ## Remove the local cluster and everything in it
	@$(DEVCLUSTER_RUN) down

.PHONY: cluster-status
cluster-status: devcluster ## Show the local cluster's addresses, files and components
	@$(DEVCLUSTER_RUN) status

.PHONY: cluster-selftest
cluster-selftest: ## Prove the local cluster: volumes, snapshots, faults, two side by side, nothing left behind
	$(PREREQUISITES) cluster
	@$(MAKE) devcluster
	@$(DEVCLUSTER) selftest

.PHONY: kubebuilder-assets
kubebuilder-assets: ## Build etcd, kube-apiserver and kubectl for envtest and print KUBEBUILDER_ASSETS
	$(PREREQUISITES) integration
	@$(MAKE) devcluster
	@$(DEVCLUSTER) assets
