// Package manager is the operator's command line: it turns flags into one
// controller-runtime manager and starts the controllers in it.
//
// It decides what the whole process may see and hold in memory, and nothing
// else:
//
//   - Of the kinds that others use too (Pods, Jobs, Services, Deployments,
//     VolumeSnapshots and so on) only what the operator made is cached; a
//     cluster's other pods never enter its memory. PersistentVolumeClaims are the exception: those that the populator fills are created by users.
//   - The content of ConfigMaps and Secrets is read from the API server when
//     needed and never cached.
//   - Metrics are served over TLS, to clients that the API server has authenticated and authorized for the path.
//   - One replica leads; the lease is given back when the process ends in an
//     orderly way, so that a rollout does not pause the work.
//
// Only package controllers lists the controllers.
package manager
