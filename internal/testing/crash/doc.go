// Package crash proves that a controller survives being killed at any of its
// API writes.
//
// A suite is a table of flows. Run runs each flow once undisturbed and
// counts its writes. Then it runs once more for each way to die: before each
// of those writes, and after each. A fresh process has to reach the same end.
//
// What happens in the namespace of a life is watched from outside, by whomever
// it is done, and the invariants of the project are held against every single
// revision: see [invariants]. A flow has to do nothing for that but to set
// the namespace that it lives in.
//
// The report of a run is appended to the file that REPORT names, for "make crash-points".
package crash
