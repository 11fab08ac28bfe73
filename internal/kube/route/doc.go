// Package route is the port to whatever spreads clients over the instances of
// a module proxy.
//
// It is narrow on purpose: Set publishes what is wanted, Observe reads back
// what every replica of the router does. The two never meet inside a
// backend; the caller reports a change as done only when an Observation
// confirms it. What a backend is made of (a Deployment, an HTTPRoute, a
// Service) is built by functions of its own package and applied by the
// caller.
//
// A backend is right when it passes package routetest.
package route
