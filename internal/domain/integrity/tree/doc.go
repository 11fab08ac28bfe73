// Package tree reads a directory tree that is not trusted.
//
// A cache volume may hold anything: symbolic links that point out of it,
// named pipes, device nodes, directories nested a thousand deep. Everything
// here is opened relative to the descriptor of its parent directory, one path
// element at a time, without following links and without blocking, and only
// regular files are opened and read. So no name found in the tree can lead out of it, and
// renaming directories under a running check cannot either.
//
// The package only reads. Start at [Open].
package tree
