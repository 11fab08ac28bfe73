// Package gateway is the router backend for clusters that have a Gateway: an
// HTTPRoute whose backendRefs lead to the instances' Services by weight.
//
// The Gateway does the routing, whatever implements it, and its limits are this
// backend's: Services publish pods that are not ready too, so it cannot detect
// dead instances, and the operator's probers have to. A weight of zero ends no
// connection that is open, so on a quarantine the pods are ended. What is read
// back is the HTTPRoute: that its weights are the intended ones, and that its
// parent has accepted this generation of it. When the data plane follows is
// beyond sight, and takes Spread.
//
// The types are those of sigs.k8s.io/gateway-api: the module adds nothing else
// to the build, checks field names that a map would not, and brings the CRDs
// that the tests hold our HTTPRoute against.
package gateway
