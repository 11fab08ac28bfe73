// Package cli is the plugin of kubectl: it shows the state of caches and
// proxies, and requests actions on them.
//
// It reads objects and creates CacheRequests, with the rights of the user's
// kubeconfig, and for some commands Jobs, PVCs and VolumeSnapshots of its own, which
// it removes. It changes and deletes no GoCache, CacheSnapshot or ModProxy: an action
// is a CacheRequest, and a change of a spec is a command that it prints, such as the
// kubectl patch of doctor for an object that is suspended.
package cli
