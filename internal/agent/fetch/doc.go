// Package fetch writes the files of a git repository to a directory, for
// another container of the pod to build. Only the container that fetches has
// the credentials; the one that compiles the files does not.
package fetch
