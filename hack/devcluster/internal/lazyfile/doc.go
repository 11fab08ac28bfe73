// Package lazyfile serves the image of a volume as clouds provide a volume that was
// restored from a snapshot: each chunk of 512 KiB is loaded when it is first read, which
// takes a time, and a store loads only some at once. Later reads are as fast as the image.
//
// The file is served through FUSE, by a process of its own, and is to be the backing file
// of a loop device with direct I/O, which passes on many requests at once, as a disk of a
// cloud takes them. What is read comes from the image; nothing is copied. Chunks that the
// image has no blocks for, and those that were written, count as loaded. Which are loaded is
// recorded beside the image, in a file of a byte for each chunk: another process goes on
// where this one was.
//
// A process ends by itself with the last user of its file, and no mount is left then: once
// its file was opened, the folder is unmounted. See Start.
//
// It needs root and /dev/fuse.
package lazyfile
