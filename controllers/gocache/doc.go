// Package gocache conducts a GoCache: its claim, the environment that builds
// must see, the Job that writes to the claim, and its snapshots by policy.
//
// It knows the cache, the claim, the one writer Job and which CacheSnapshots
// exist. It does not know how a snapshot comes to its verdict (cachesnapshot)
// nor who gets a clone of it (populator): it reads conditions that those wrote.
//
// Start at Reconcile. Each step decides with internal/plan and acts with
// internal/kube; all steps run in each pass, and the earliest wish to be woken
// wins.
package gocache
