// Package buildcache implements the layout of a Go build cache (GOCACHE).
//
// The go command (cmd/go/internal/cache/cache.go) keeps 256 directories, 00 to
// ff, named like the first byte of the hashes in them:
//
//	xx/<64 hex digits of the action>-a   an action entry: which output an action has
//	xx/<64 hex digits of the output>-d   an output; the name is the sha256 of its content
//	xx/<...>-d/<name>                    an executable output: a directory with one file
//	trim.txt                             Unix seconds of the last trim
//	testexpire.txt                       Unix nanoseconds; test results before it are stale
//	fuzz/...                             corpora of go test -fuzz; never trimmed
//	README, log.txt                      for people
//
// An action entry has exactly 175 bytes, fields apart by one space:
//
//	v1 <action, 64 hex> <output, 64 hex> <size, 20 wide> <Unix nanoseconds, 20 wide>\n
//
// Both kinds of file are written in place. The size of an output is its commit
// mark: its last byte is written last. A reader takes any malformed entry and
// any output of another size for absent; but for most outputs it never looks at
// the content, so a flipped bit in one is used as it is.
//
// Modification times are "last used", at a granularity of an hour; the go
// command deletes what was not used for five days, once a day.
package buildcache
