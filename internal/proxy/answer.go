package proxy

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/modcache"
)

// badAnswer is an answer of an upstream that arrived as a whole and cannot be
// right. It is neither stored nor passed on: what is stored is served for ever.
type badAnswer struct{ err error }

func (e *badAnswer) Error() string { return "the upstream's answer cannot be right: " + e.err.Error() }
func (e *badAnswer) Unwrap() error { return e.err }

// maxUnpacked bounds what a module's files may have together, in bytes: four
// times the go command's own limit.
const maxUnpacked = 2 << 30

// checkAnswer finds what the library does not look for in the files of one
// version: an .info of another version, a go.mod that does not parse, and,
// unless a checksum database vouches for it, an archive whose contents do not
// have the sums that it records.
func checkAnswer(m module.Version, info, mod, zip io.ReadSeeker, vouched bool) error {
	text, err := whole(info)
	if err == nil {
		err = modcache.CheckInfo(m, text)
	}
	if err != nil {
		return fmt.Errorf("its .info: %w", err)
	}
	if text, err = whole(mod); err == nil {
		_, err = modfile.ParseLax("go.mod", text, nil)
	}
	if err != nil {
		return fmt.Errorf("its .mod: %w", err)
	}
	if vouched {
		return nil
	}
	size, err := zip.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = goproxy.SumZip(seekerAt{zip}, size, maxUnpacked)
	}
	if _, rewind := zip.Seek(0, io.SeekStart); err != nil || rewind != nil {
		return fmt.Errorf("its .zip: %w", errors.Join(err, rewind))
	}
	return nil
}

// whole reads a file that is text, and rewinds it.
func whole(f io.ReadSeeker) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return data, err
}

// seekerAt reads at offsets, one caller at a time.
type seekerAt struct{ io.ReadSeeker }

// ReadAt implements io.ReaderAt.
func (s seekerAt) ReadAt(p []byte, off int64) (int, error) {
	if _, err := s.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.ReadSeeker, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
