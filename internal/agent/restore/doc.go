// Package restore copies a volume of caches to another place, for storage that
// cannot clone: by reference where the file system can, else byte by byte.
//
// What is half-written in the source is not copied: temporary files, and
// extracted modules that are still marked as being extracted. The copy gets
// times that keep the go command from trimming it, and is checked before it is
// called restored.
package restore
