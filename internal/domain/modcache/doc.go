// Package modcache implements the layout of a Go module cache (GOMODCACHE) and
// the hashes of its contents. It does not judge deviations.
//
// The go command (cmd/go/internal/modfetch/cache.go and fetch.go) keeps:
//
//	cache/download/<escaped path>/@v/list               known versions, one per line
//	cache/download/<escaped path>/@v/<version>.info     {"Version","Time","Origin"?}
//	cache/download/<escaped path>/@v/<version>.mod      the go.mod file
//	cache/download/<escaped path>/@v/<version>.zip      the module's files
//	cache/download/<escaped path>/@v/<version>.ziphash  "h1:" and 44 base64 digits, no newline
//	cache/download/<escaped path>/@v/<version>.lock     empty; flock(2) while downloading
//	cache/download/<escaped path>/@v/<version>.partial  empty; exists while extracting
//	cache/download/<escaped path>/@v/*.tmp              a download not yet complete
//	cache/download/sumdb/<name>/{lookup,tile}/...       checksum database records
//	cache/vcs/...                                       bare repositories of direct fetches
//	<escaped path>@<escaped version>/...                the extracted module
//
// Paths and versions are escaped as golang.org/x/mod/module documents: an
// upper-case letter becomes "!" and its lower-case form. The sum in .ziphash is
// golang.org/x/mod/sumdb/dirhash's Hash1 over names and contents: the same for
// the zip and for the extracted directory.
//
// Start at [Scan] for what a cache holds and at [Hasher] for its hashes.
package modcache
