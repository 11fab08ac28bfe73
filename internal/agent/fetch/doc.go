// Package fetch brings a git repository's files to a directory, for a container
// beside it to build. It runs alone with the credentials: whoever compiles the
// files never sees them.
package fetch
