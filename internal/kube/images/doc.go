// Package images names the container images of the pods that the operator
// makes.
//
// All of the operator's own programs (the agent, the proxy and the router's
// sidecar) come in one image, the operator's own; so a release is one digest,
// and a Job can never run an agent of another release than the manager that
// reads its report. Only the Go toolchain and HAProxy come from elsewhere.
package images
