// Package rooms holds the arrows of this repository: which package may import
// which, and why.
//
// A room is a folder whose code answers for one thing. The api names things,
// domain knows Go, plan decides, kube touches the cluster, controllers
// conduct, agent, proxy and router are the other processes, and cmd starts
// them all. From a file's path alone a reader can then tell what it may do.
//
// The table in rules.go is the whole law. The test in this package reads the
// imports of every package with "go list", which compiles nothing, and names
// for each breach the import, the rule and the reason. A folder that the table
// does not know is a breach too, so that a new one is a decision and not an
// accident.
package rooms
