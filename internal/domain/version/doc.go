// Package version reports which build of a program is running.
//
// Release builds and make set the version and the commit with the linker:
//
//	go build -ldflags "-X gocache.dev/operator/internal/domain/version.version=v0.1.0 -X gocache.dev/operator/internal/domain/version.commit=0123abc"
//
// Without them, what the go command recorded in the program is reported: the
// version of the module for "go install gocache.dev/operator/...@v0.1.0", and
// the commit for a build in a work tree with -buildvcs.
package version
