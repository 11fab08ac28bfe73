// Package service is the router backend for tiny installs: a Service whose
// selector names the one instance that serves.
//
// It needs no pod of its own, and pays for that. One instance serves at a time.
// Whether it lives is for the kubelet's readiness probe and the operator's
// probers to find out: between the death of the instance that serves and the
// weight change, connections are refused. A connection that is kept open stays
// with its instance after a weight change, so on a quarantine the pods are
// ended too. What is read back is the Service and its EndpointSlices; that
// every node's kube-proxy follows those is beyond its sight, and takes Spread.
package service
