// Package certificate says whether a certificate and its key may serve, and is
// the format in which a router's sidecar reports which one does.
//
// The sidecar takes a pair from a mounted Secret only when Parse accepts it,
// so that a Secret that is emptied, mismatched or expired never replaces a
// certificate that works. What it made of the Secret it answers at Path, as
// JSON: the operator learns from there what a client gets, and never has to
// read a private key itself.
package certificate
