// Command failover breaks one of a proxy's two instances in every
// known way, on a real cluster and under real go commands, and prints for
// each fault how many commands failed.
//
// Four client groups work at the same time, so that all meet the same
// fault: with the published GOPROXY, with the router named once, and with what
// people have without this project: a plain Service over both instances with
// readiness probes, and both instances as a list. Each command has an empty
// module cache and no memory of a checksum database; only builds find the
// standard library compiled. Modules, checksum database and their sums are made
// here: nothing is fetched from outside.
//
// The instances are gocache-proxy behind a program that spoils answers on
// demand (faulty), in the same container. Each fault is injected while at
// least one body of more than 5 MB is being sent through the router by the
// instance that it hits, and lasts until all commands have ended.
package main
