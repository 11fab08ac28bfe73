// Package crash proves that a controller survives being killed at any of its
// API writes.
//
// A suite is a table of flows. Run runs each flow once undisturbed and
// counts its writes. Then it runs once more for each way to die: before each
// of those writes, and after each. A fresh process has to reach the same end.
//
// Every change in the namespace of a run is watched, also changes by other
// clients, and the invariants of the project are checked at every revision: see
// [invariants]. A flow only has to set its namespace for that.
//
// The report of a run is appended to the file that REPORT names, for "make crash-points".
package crash
