// Package scenario runs the operator's main job on a real cluster, as a user
// would: a cache is warmed through a proxy, snapshotted, verified, cloned for
// offline builds and corrupted, and a proxy instance is killed under load.
//
// Each chapter does one thing, waits for it by looking at the objects that a
// user would look at, and returns what it observed. The demo prints it, and the
// e2e tests check it.
//
// A Cluster is one of three: local (the project's own, started here), kind or
// current (whatever the kubeconfig names), the last two with public images.
package scenario
