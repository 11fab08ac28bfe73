package store

import (
	"crypto/sha256"

	"golang.org/x/sys/unix"
)

// SumAttribute is the extended attribute in which our own server keeps the
// lower-case hex SHA-256 of a file's content, of the goproxy layout.
const SumAttribute = "user.gocache.sha256"

// RecordedSum is the sum that a server recorded for an open file; empty: none,
// or the file system keeps no attributes.
func RecordedSum(fd int) string {
	buf := make([]byte, 2*sha256.Size)
	n, err := unix.Fgetxattr(fd, SumAttribute, buf)
	if err != nil || n != len(buf) {
		return ""
	}
	return string(buf)
}
