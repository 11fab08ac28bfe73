// Package record keeps what a writer leaves on a volume beside its caches, in
// the directory .gocache: the canonical manifest, which toolchain wrote, which
// modules come from its GOROOT, when
// what was last used, and what the last warm-up was made from.
package record
