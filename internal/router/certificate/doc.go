// Package certificate decides whether a certificate and its key may serve, and
// defines the format in which a router's sidecar reports the one that does.
//
// The sidecar takes a pair from a mounted Secret only when Parse accepts it, so
// that a Secret that is emptied, mismatched or expired never replaces a
// certificate that works. It reports the result at Path, as JSON: the operator
// reads there which certificate a client gets, and never has to read a private
// key itself.
package certificate
