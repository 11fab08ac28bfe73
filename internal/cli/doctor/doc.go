// Package doctor examines what caches and proxies need of a cluster, and their
// state, and names for each finding the command that corrects it.
package doctor
