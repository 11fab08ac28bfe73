// Package warm fills a pair of Go caches: it runs the go command of the image
// it finds itself in, on copies of the go.mod and go.sum files and on the
// repositories that it is given, and then records what the caches hold. What it
// is given is compiled and never run.
//
// It is the only writer of the volume, so it ends by preparing the volume for a
// snapshot: the canonical manifest and the toolchain's identity are written
// beside the caches, build cache entries get modification times so far ahead
// that no go command trims them from an old snapshot, and everything is flushed
// to the device.
package warm
