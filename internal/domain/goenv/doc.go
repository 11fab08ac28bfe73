// Package goenv composes the environment in which the go command must run to
// hit a cache: where the caches are, which proxy is asked, which checks hold.
//
// A build cache written without -trimpath is hit only when the module cache is
// under the path that it had when the entry was written, so the paths here are
// the same for the writer and for every reader.
package goenv
