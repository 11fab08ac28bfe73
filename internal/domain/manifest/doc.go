// Package manifest writes and reads the canonical list of what a cache holds.
//
// Two caches with the same contents have the same manifest, byte for byte,
// wherever they lie and whatever their modes, times and owners are. Its sha256
// is the digest that names a state of a cache.
//
// The format is text, one record a line, fields apart by one space, "-" where
// there is nothing:
//
//	gocache-manifest 1
//	m <path> <version> <zip h1> <zip sha256> <zip size> <mod h1> <dir h1>
//	s <path> <version> <zip h1> <zip sha256> <zip size> <mod h1> -
//	a <action> <output> <size>
//	d <output> <size>
//	x <output> <size>
//	end <number of records>
//
// m is a version in a module cache, s one in a proxy's store, a an action entry
// of a build cache, d an output and x an output in the executable form. Sums
// named h1 are as in go.sum; everything else is lower-case hexadecimal.
//
// Order: all m by path and version, all s likewise, then the build cache shard
// by shard (the first byte of the ID): its a, then its d and x, each by ID. A
// reader refuses any other order, a missing end, and any spelling that the
// writer would not choose, so that equal contents cannot have two manifests.
//
// On a volume the manifest is compressed with zstd; the digest is always of
// the text.
package manifest
