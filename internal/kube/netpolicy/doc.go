// Package netpolicy builds the NetworkPolicies of a ModProxy: which pods may
// connect to its router and to its instances.
//
// With a router of type HAProxy the instances accept the router's pods, each other,
// the manager and scrapers of metrics, and no client. A Service and a Gateway lead
// clients to the instances themselves, so their instances accept clients too.
// The clients are those of spec.router.from. Policies restrict connections to the pods
// only: where the pods connect to is left open.
//
// A policy names ports by number: not every network plugin supports the named ports
// of native sidecars, which are init containers.
package netpolicy
