// Package route is the port to whatever spreads clients over the instances of
// a module proxy.
//
// It is narrow on purpose. Ensure makes the objects that a backend consists of
// (a Deployment, a Service, an HTTPRoute), Set publishes the intent, and Observe
// reads back what every replica of the router does. Set and Observe never meet
// inside a backend; the caller reports a change as done only when an
// Observation confirms it. A backend owns its objects: no caller builds or
// deletes one, and none asks which type of router it has.
//
// Package backend chooses the backend of a ModProxy, and looks after what one of
// another type has left. A backend is right when it passes package routetest.
package route
