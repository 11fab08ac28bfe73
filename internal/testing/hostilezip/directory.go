package hostilezip

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Directory is an archive that consists of its directory: entries of names alone,
// each of which takes several times its size in memory. It has at least size bytes
// and at most 100 more. Its end record announces a directory of the given size, and
// archive/zip reads all of it.
func Directory(size int, announced uint32) []byte {
	var archive bytes.Buffer
	entries := 0
	for ; archive.Len() < size; entries++ {
		name := fmt.Sprintf("%x", entries)
		header := make([]byte, 46)
		copy(header, "PK\x01\x02")
		binary.LittleEndian.PutUint16(header[28:], uint16(len(name))) //nolint:gosec // a few digits
		archive.Write(header)
		archive.WriteString(name)
	}
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], uint16(entries%(1<<16)))  //nolint:gosec // what the record holds
	binary.LittleEndian.PutUint16(end[10:], uint16(entries%(1<<16))) //nolint:gosec // the same
	binary.LittleEndian.PutUint32(end[12:], announced)
	archive.Write(end)
	return archive.Bytes()
}
