package goproxy

import "io"

// chunkSize of chunks, in bytes.
const chunkSize = 64 << 10

// chunks is an archive in memory. A buffer that grows by copying would take
// three times its size for a moment.
type chunks struct {
	all  [][]byte
	size int64
}

// Write appends to the archive.
func (c *chunks) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if c.size%chunkSize == 0 {
			c.all = append(c.all, make([]byte, chunkSize))
		}
		n := copy(c.all[len(c.all)-1][c.size%chunkSize:], p)
		c.size += int64(n)
		p = p[n:]
	}
	return written, nil
}

// ReadAt reads from the archive.
func (c *chunks) ReadAt(p []byte, off int64) (read int, err error) {
	for read < len(p) {
		at := off + int64(read)
		if at < 0 || at >= c.size {
			return read, io.EOF
		}
		chunk := c.all[at/chunkSize]
		end := min(chunkSize, c.size-at/chunkSize*chunkSize)
		read += copy(p[read:], chunk[at%chunkSize:end])
	}
	return read, nil
}
