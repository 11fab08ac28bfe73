// Package tmpfs gives tests file systems of their own, in memory, which are as full
// or as short of inodes as a test needs.
package tmpfs
