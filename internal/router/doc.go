// Package router is the sidecar of an HAProxy router: it tells HAProxy what
// the operator wants, without HAProxy knowing about a cluster and without an
// administration socket that others could reach.
//
// The intent is one document (package weights). It is read from a file at the
// start, mounted from a ConfigMap, so that a router starts while no API
// server answers, and afterwards from a watch on that one ConfigMap. What
// cannot be read or is malformed is logged and changes nothing: the last good
// intent stays in force for as long as it takes.
//
// HAProxy pulls: its agent-check connects every half second for each server,
// sends the server's name (agent-send) and gets one line back:
//
//	question           ready            drain              down
//	blue               ready up 50%     drain              down
//	last-resort/blue   ready up 100%    ready up 1%        down
//
// The second form is asked for the servers of a second HAProxy backend, which
// is used only while the first has no server left. So a server that is merely
// out of favour still serves before a client sees an error, and a convicted
// one never does.
//
// With TLS it also brings the certificate of a mounted Secret to HAProxy (see
// package certificate): as a file for its start, and over a socket inside of
// the pod while it runs, which drops no connection.
//
// It also stands between HAProxy and its clients for what must arrive whole and
// unaltered (answers.go): HAProxy, which cannot take back an answer that it has
// begun, passes such requests on, and is asked for the answers of instances in
// turn. The end of an answer is held back until all of it has arrived (body.go)
// and, if a lookup in a checksum database has passed by that told its h1
// (learned.go, archive.go), is what that said.
//
// A name that the intent does not hold is answered "down": what is not known
// is not opened. Before there is any intent nothing listens at all, which
// HAProxy takes as "no news", and its servers start disabled.
package router
