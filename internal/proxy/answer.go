package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
)

// badAnswer is an answer of an upstream that arrived as a whole and cannot be
// right. It is neither stored nor passed on: what is stored is served for ever.
type badAnswer struct{ err error }

func (e *badAnswer) Error() string { return "the upstream's answer cannot be right: " + e.err.Error() }
func (e *badAnswer) Unwrap() error { return e.err }

// checkAnswer finds what the library does not look for in the files of one
// version: an .info of another version, a go.mod that does not parse, and,
// unless a checksum database vouches for it, an archive whose contents do not
// have the sums that it records.
func checkAnswer(m module.Version, info, mod, zip io.ReadSeeker, vouched bool) error {
	text, err := complete(info)
	if err == nil {
		err = modcache.CheckInfo(m, text)
	}
	if err != nil {
		return fmt.Errorf("its .info: %w", err)
	}
	if text, err = complete(mod); err == nil {
		_, err = modfile.ParseLax("go.mod", text, nil)
	}
	if err == nil && bytes.IndexByte(text, 0) >= 0 {
		err = errors.New("contains NUL bytes")
	}
	if err != nil {
		return fmt.Errorf("its .mod: %w", err)
	}
	if err := checkArchive(m, zip, vouched); err != nil {
		return fmt.Errorf("its .zip: %w", err)
	}
	return nil
}

// checkArchive reads an archive as the check of a store does, so that nothing is
// stored which that would find wrong.
func checkArchive(m module.Version, zip io.ReadSeeker, vouched bool) error {
	size, err := zip.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	f := &archive{ReadSeeker: zip, size: size}
	hasher := modcache.NewHasher(0)
	if err = f.Rewind(); err == nil && vouched {
		err = hasher.Names(f, m)
	} else if err == nil {
		_, err = hasher.Zip(f, m)
	}
	return errors.Join(err, f.Rewind())
}

// complete reads a file that is text, and rewinds it.
func complete(f io.ReadSeeker) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return data, err
}

// archive is a fetched file, for one reader at a time.
type archive struct {
	io.ReadSeeker
	size int64
}

// Size implements modcache.Source.
func (a *archive) Size() int64 { return a.size }

// Rewind implements modcache.Source.
func (a *archive) Rewind() error {
	_, err := a.Seek(0, io.SeekStart)
	return err
}

// ReadAll implements modcache.Source.
func (a *archive) ReadAll(_ []byte, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(a.ReadSeeker, limit))
}

// ReadAt implements io.ReaderAt.
func (a *archive) ReadAt(p []byte, off int64) (int, error) {
	if _, err := a.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(a.ReadSeeker, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
