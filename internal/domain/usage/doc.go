// Package usage is the record of what the warm-ups of a cache have used, which
// a writer leaves on the volume: it decides what a cleanup may remove.
//
// A module cache bears no marks of use at all, so the record has a line for
// each version that the cache holds. A build cache needs none: the go command
// moves the modification time of each entry that it uses, and a writer keeps
// that time, moved ten years ahead (see package buildcache). So the record
// contains only the start of the last warm-up for builds; entries with a later
// time were used by it.
//
// The text is canonical: equal records are equal bytes.
//
//	gocache-usage 1
//	warm-up <began> <ended>
//	m <path> <version> <contents last used> <go.mod last used>
//	end <number of versions>
//
// Fields are apart by one space, times are RFC 3339 in UTC with whole seconds,
// "-" stands for never. Versions are sorted by path, then version, as bytes.
package usage
