// Package gitrepo reads from git repositories: which commit a ref names now,
// and the files of one commit.
//
// It implements git's own protocols over HTTP(S) and SSH by itself, since
// neither the operator's image nor a toolchain's need hold a git command. It
// reads no configuration of the surroundings, and an SSH server whose key is
// not among the known ones is refused. Nothing of a repository is ever run.
package gitrepo
