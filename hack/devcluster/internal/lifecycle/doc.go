// Package lifecycle brings a cluster up, reports its status, and takes it down.
//
// Up is idempotent: a usable cluster is left alone, and anything less is taken
// down first. Down removes whatever is there, from whichever state, and is done
// when nothing is: no process, mount, interface, route, cgroup, or file.
package lifecycle
