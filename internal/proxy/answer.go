package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/tlog"

	"gocache.dev/operator/internal/domain/modcache"
)

// badAnswer is an answer of an upstream that arrived as a whole and cannot be
// right. It is neither stored nor passed on: what is stored is served for ever.
type badAnswer struct{ err error }

func (e *badAnswer) Error() string { return "the upstream's answer cannot be right: " + e.err.Error() }
func (e *badAnswer) Unwrap() error { return e.err }

// checkText is why a text cannot be the right answer, and that a checksum database
// does not have it. The text that it returns is the answer for clients.
func (f *fetcher) checkText(ctx context.Context, t target, text []byte) ([]byte, error) {
	var err error
	switch {
	case t.kind == modcache.Info:
		err = modcache.CheckInfo(t.module, text)
	case t.kind == modcache.List:
		text, err = checkList(text)
	default:
		err = checkMod(text)
	}
	if err != nil {
		return nil, &badAnswer{fmt.Errorf("%s: %w", t.name, err)}
	}
	if t.kind == modcache.Mod {
		if err := f.unmixed(t, text, nil); err != nil {
			return nil, err
		}
	}
	if t.kind == modcache.Mod && f.database != nil && f.vouched(t.module.Path) {
		m := module.Version{Path: t.module.Path, Version: t.module.Version + "/go.mod"}
		return text, f.database.vouch(ctx, m, modcache.SumGoMod(text))
	}
	return text, nil
}

// checkList leaves a list as it is, unless it has lines that a client would skip.
func checkList(text []byte) ([]byte, error) {
	if _, err := modcache.ParseList(ended(text)); err == nil {
		return text, nil
	}
	var versions []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && semver.IsValid(fields[0]) {
			versions = append(versions, fields[0])
		}
	}
	if len(versions) == 0 && len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("no line of it is a version")
	}
	return modcache.FormatList(versions), nil
}

// ended is a list whose last line ends. Not every server writes that.
func ended(list []byte) []byte {
	if len(list) == 0 || list[len(list)-1] == '\n' {
		return list
	}
	return append(slices.Clip(list), '\n')
}

// checkPage is why a page cannot be the right answer of a checksum database. That it is the
// right one is for clients to verify.
func checkPage(path string, page []byte) error {
	if strings.HasPrefix(path, "/lookup/") {
		_, _, _, err := tlog.ParseRecord(page)
		return err
	}
	tile, err := tlog.ParseTilePath(strings.TrimPrefix(path, "/"))
	if err != nil || tile.L < 0 { // a tile of records has no fixed size
		return nil //nolint:nilerr // it is for the database to refuse
	}
	if size := tile.W * tlog.HashSize; len(page) != size {
		return fmt.Errorf("has %d bytes, not the %d of a tile", len(page), size)
	}
	return nil
}

func checkMod(text []byte) error {
	file, err := modcache.ParseGoMod("go.mod", text)
	switch {
	case err != nil:
		return err
	case file.Module == nil:
		return errors.New("has no module directive")
	case bytes.IndexByte(text, 0) >= 0:
		return errors.New("contains NUL bytes")
	}
	return nil
}

// checkArchive reads an archive as the check of a store does, so that nothing is
// stored which that would find wrong.
func (f *fetcher) checkArchive(ctx context.Context, t target, s *spool) error {
	source := &archive{ReadSeeker: io.NewSectionReader(s.file, 0, s.written), size: s.written}
	sum, err := modcache.NewHasher(0).Zip(source, t.module)
	if err == nil {
		err = sum.Refused
	}
	if err != nil {
		return &badAnswer{fmt.Errorf("%s: %w", t.name, err)}
	}
	if f.database != nil && f.vouched(t.module.Path) {
		return f.database.vouch(ctx, t.module, sum.H1)
	}
	return f.unmixed(t, nil, &sum)
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
