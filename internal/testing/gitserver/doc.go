// Package gitserver serves real git repositories to tests, with the git command
// of this machine.
package gitserver
