// Package routetest is the examination that every router backend has to pass.
//
// It starts instances of its own on loopback, has the backend under test put
// a router before them, and looks at the router only as clients do, and
// through the port. What it asks for is what builds depend on: that an intent
// arrives and can be read back, that a server out of favour finishes what it
// began, and above all that a quarantined one serves nothing: not what is under
// way, not as a last resort, not while a router restarts.
//
// What a backend declares as its Limits it is not asked for; that is skipped by
// name, so that a run lists what was not examined.
package routetest
