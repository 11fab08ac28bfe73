// Package goproxy is a client of the GOPROXY protocol.
//
// The protocol is the one described by "go help goproxy" and
// https://go.dev/ref/mod#goproxy-protocol: for a module path and a version,
// both escaped as golang.org/x/mod/module does,
//
//	<base>/<path>/@v/list           known versions, one per line
//	<base>/<path>/@latest           Info of the newest version
//	<base>/<path>/@v/<version>.info Info
//	<base>/<path>/@v/<version>.mod  the go.mod file
//	<base>/<path>/@v/<version>.zip  the source archive
//	<base>/sumdb/<name>/supported   200 when the checksum database is proxied
//	<base>/sumdb/<name>/latest      its newest signed tree
//
// It exists to examine a proxy, not to build with it. So, unlike the go
// command, it puts a limit on everything a broken or hostile server could make
// endless (bodies, archives, time by the caller's context), notices a body that
// is shorter than announced, and distinguishes failures by its errors: an
// instance that lacks a module, one that fails, one that hangs and one that
// returns a malformed answer are four different findings.
//
// Sums are "h1:" hashes as in go.sum, so a result can be compared with
// trusted data without any further conversion.
package goproxy
