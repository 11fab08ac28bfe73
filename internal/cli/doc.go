// Package cli is the plugin of kubectl: it shows the state of caches and
// proxies, and requests actions on them.
//
// It reads objects and creates CacheRequests, with the rights of the user's
// kubeconfig, and for some commands Jobs and PVCs of its own, which it removes. It
// changes no object of the operator.
package cli
