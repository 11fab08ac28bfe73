// Package router is the sidecar of an HAProxy router: it reports to HAProxy the
// weights that the operator has set, without access of HAProxy to the cluster
// and without an administration socket that others could reach.
//
// The intent is one document (package weights). It is read from a file at the
// start, mounted from a ConfigMap, so that a router starts while no API server
// answers, and afterwards from a watch on that one ConfigMap. An intent that
// cannot be read or is malformed is logged and changes nothing: the last good
// intent stays in force until the next one.
//
// HAProxy pulls: its agent-check connects every half second for each server,
// sends the server's name (agent-send) and gets one line back:
//
//	question           ready            drain              down
//	blue               ready up 50%     drain              down
//	last-resort/blue   ready up 100%    ready up 1%        down
//
// The second form is asked for the servers of a second HAProxy backend, which
// is used only while the first has no server left. So a server that is only
// drained still serves before a client sees an error, and a quarantined one
// never does.
//
// With TLS it also brings the certificate of a mounted Secret to HAProxy (see
// package certificate): as a file for its start, and over a socket inside of
// the pod while it runs, which drops no connection.
//
// It also stands between HAProxy and its clients for answers that must arrive
// complete and unaltered (answers.go): HAProxy, which cannot take back an
// answer that it has begun, forwards such requests to the sidecar, which
// requests the answers of instances from HAProxy in turn. The end of an answer
// is held back until all of it has arrived (body.go) and, if its h1 is recorded
// from a lookup in a checksum database (learned.go, archive.go), matches that.
//
// A refusal of an instance ends the further attempts of a client (refusals.go):
// another instance is not asked to give what the first one refuses.
//
// What is of a checksum database it can request from other servers than the
// instances, for those that have no way to it.
//
// HAProxy answers at once when it reaches no instance. The sidecar then waits some
// seconds for one that comes back (outage.go).
//
// For a name that is not in the intent the answer is "down": an unknown server
// gets no traffic. Before there is any intent nothing listens at all, which
// HAProxy treats as no change, and its servers start disabled.
package router
