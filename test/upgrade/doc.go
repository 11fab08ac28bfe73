// Package upgrade installs a release on a real cluster as a user does, upgrades it
// to the next one, and removes it: first by the chart, then by install.yaml.
//
// The releases are built from one tree by make release, in a clone with tags of
// its own, as [docs/design/releasing.md] describes it, with the image of the OCI
// layout by its digest. What the next release must not disturb is compared before
// and after: volumes, snapshots, verdicts and warm-ups of a cache, and the go
// commands of clients of a proxy.
//
// It is slow, and runs on the local cluster only: make test-upgrade. make test-release
// does the first part of it with a release that was built before, for all platforms.
package upgrade
