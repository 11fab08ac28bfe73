package proxy

import (
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
)

// entry is an open file of the store that was intact when it was opened.
// Its methods are the ones that the library looks for.
//
// A large file takes a while to be sent, and may change meanwhile. So a file
// that is read from its beginning is hashed once more, and if the hash differs,
// the reader gets an error in place of its last bytes: the client receives a
// truncated body, and requests it again, instead of corrupt content.
type entry struct {
	file   *os.File
	name   string
	size   int64
	sum    string // of the content when it was opened
	closed func() // nil: nothing is counted
	hash   hash.Hash
	hashed int64 // bytes since the beginning, or notHashed
}

// notHashed is for reading from somewhere in the middle.
const notHashed = -1

// errSpoiled is what a reader gets.
var errSpoiled = errors.New("the file was damaged while it was read")

// Read implements io.Reader.
func (e *entry) Read(p []byte) (int, error) {
	n, err := e.file.Read(p)
	if e.hashed == notHashed {
		return n, err
	}
	e.hash.Write(p[:n])
	e.hashed += int64(n)
	if e.hashed >= e.size && n > 0 && hex.EncodeToString(e.hash.Sum(nil)) != e.sum {
		return 0, errSpoiled
	}
	return n, err
}

// Seek implements io.Seeker.
func (e *entry) Seek(offset int64, whence int) (int64, error) {
	at, err := e.file.Seek(offset, whence)
	e.hashed = notHashed
	if err == nil && at == 0 {
		e.hashed = 0
		e.hash.Reset()
	}
	return at, err
}

// Close implements io.Closer.
func (e *entry) Close() error {
	if closed := e.closed; closed != nil {
		e.closed = nil
		closed()
	}
	return e.file.Close()
}

// ETag is the same for the same content, in every instance. The time at which
// one stored it is not, so there is no Last-Modified.
func (e *entry) ETag() string { return etag(e.sum) }

func etag(sum string) string { return `"` + sum + `"` }

var _ io.ReadSeekCloser = (*entry)(nil)
