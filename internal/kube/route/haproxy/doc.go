// Package haproxy is the router backend that runs HAProxy with the
// gocache-router sidecar.
//
// Two things decide where a request goes. HAProxy's own health checks take out
// instances that are dead, hung or refusing, within about a second and without
// the operator. The operator's intent, published as weights in a ConfigMap and
// pulled through the sidecar by agent-check, moves shares and quarantines.
//
// haproxy.cfg is static: every instance has an address that does not change
// (a ClusterIP), so nothing is reloaded, and a change of the set of instances
// rolls the Deployment. It has backends with the same servers:
//
//   - instances: with health checks, for all requests while one is usable;
//
//   - last-resort: with agent-check only, when none is. It uses servers that
//     fail their checks or are out of favour, but never quarantined ones.
//
//     The sidecar repeats what fails there, for some seconds.
//
//   - second-attempt and third-attempt: the same servers in one order and in the
//     opposite, for clients that come back.
//
// The last two are for what no router can repair: an answer that breaks off
// or stalls in the middle. The go command then goes on to the next entry of
// GOPROXY, so the router is published three times; but with equal entries the
// same bad server may be met each time, by chance one time in eight with two.
// The second and third entry have a prefix that leads to the first server of
// each order, so one of them avoids any single bad server.
//
// The go command does not continue like that for a checksum database: one
// answer that breaks off fails it; nor when a file of a module is complete and
// has another h1 than it expects. HAProxy therefore forwards both kinds of
// requests to its sidecar (backend answers), which comes back as a client
// (frontend attempts) up to three times, and answers with bodies that are
// complete and do not contradict a recorded checksum. While there is no
// sidecar, HAProxy requests them itself.
//
// All servers start disabled, and only the agent opens them: a router that
// restarts while a server is quarantined does not serve from it for an instant.
//
// config.go renders the file from haproxy.cfg.tmpl and has the defaults of its
// timeouts, objects.go builds what runs it, weights.go publishes the intent,
// observe.go reads it back.
package haproxy
