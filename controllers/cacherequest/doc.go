// Package cacherequest follows a CacheRequest: it copies the outcome from the
// object that the request is for, and deletes the request some time after it
// was finished.
//
// It is the only writer of the status of a CacheRequest. It does not accept
// requests, nor carry them out: gocache and modproxy do, for their own kind,
// and write the outcome to the status of their own object.
//
// Start at Reconcile; what a request waits for is decided in
// internal/plan/request.
package cacherequest
