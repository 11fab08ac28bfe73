// Package store implements the layouts in which module proxies keep modules on
// disk.
//
// The goproxy layout is what a GOPROXY serves, as github.com/goproxy/goproxy's
// DirCacher and static file servers have it, with paths and versions escaped:
//
//	<escaped path>/@v/list, <escaped version>.info, .mod, .zip
//	<escaped path>/@v/<escaped query>.info
//	<escaped path>/@latest
//	sumdb/...
//	.<name>.tmp.*            being written; renamed when complete
//
// A file may come without the others: they are fetched one by one. What was
// asked for under a name that is no version of the module (a branch, v1, v2.0.0
// without /v2 in the path) is a query: the file holds the last answer, which
// names a version, and is served only while the upstream gives none.
//
// The athens layout (github.com/gomods/athens, pkg/storage/fs) has one
// directory for each version, with paths not escaped:
//
//	<path>/<version>/go.mod, source.zip, <version>.info
//
// Athens writes in place, in this order, without renaming: a crash or a full
// disk leaves a truncated zip, which is served as it is until the .info is
// requested. All three files are there or the version does not exist.
package store
