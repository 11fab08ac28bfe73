// Package story walks through the operator's main job on a real cluster, as a
// user would: a cache is warmed through a proxy, snapshotted, verified, cloned
// for offline builds, damaged, convicted; a proxy instance is killed under
// load.
//
// Each chapter does one thing, waits for it by looking at the objects that a
// user would look at, and returns what it saw. The demo tells it to a person,
// the e2e tests judge it.
//
// A Cluster is one of three: local (the project's own, started here), kind or
// current (whatever the kubeconfig names), the last two with public images.
package story
