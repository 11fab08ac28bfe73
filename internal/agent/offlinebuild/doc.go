// Package offlinebuild tests whether caches alone can build a program: it runs
// the go command of the image it finds itself in on a copy of the program's
// files, with nothing to fetch from, and compares what was linked with what
// go.mod requires.
//
// The caches are written to, as any build does: they are a clone that is thrown
// away afterwards.
package offlinebuild
