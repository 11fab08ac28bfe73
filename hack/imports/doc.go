// Package imports holds the import rules of this repository: which package may
// import which, and why.
//
// Each rule covers one folder whose code has one responsibility. The api names
// things, domain implements the formats and rules of Go, plan decides, kube accesses the cluster, prober
// probes proxy instances, controllers orchestrate, agent, proxy and router are
// the other processes, and cmd starts them all. A reader can therefore see
// from a file's path alone what its code may do.
//
// The table in rules.go is complete. The test in this package reads the imports
// of every package with "go list", which compiles nothing, and names for each
// violation the import, the rule and the reason. A folder without a rule is a
// violation too, so that a new folder is a decision and not an accident.
package imports
