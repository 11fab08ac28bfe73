// Package manager is the operator's command line: it turns flags into one
// controller-runtime manager and starts the controllers in it.
//
// It decides what the whole process may see and hold in memory, and nothing
// else:
//
//   - Pods and Jobs are cached only when the operator made them; a cluster's
//     other pods never enter its memory.
//   - ConfigMaps and Secrets are read from the API server when needed and
//     never cached, so that no list permission on them is needed either.
//   - Metrics are served over TLS, to callers whom the API server has
//     authenticated and authorized for the path.
//   - One replica leads; the lease is given back when the process ends in an
//     orderly way, so that a rollout does not pause the work.
//
// Which controllers there are is said in package controllers alone.
package manager
