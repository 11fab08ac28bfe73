package goproxy

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/modcache"
)

// Sums are the two hashes that go.sum holds for a version.
type Sums struct {
	// Zip is the h1 hash of the archive's content.
	Zip string
	// Mod is the h1 hash of the go.mod file.
	Mod string
}

// Sums downloads the go.mod file and the archive of a version and hashes
// them. The archive is held in memory, so give the Client a MaxZip that fits
// the process.
func (c *Client) Sums(ctx context.Context, m module.Version) (Sums, error) {
	mod, err := c.Mod(ctx, m)
	if err != nil {
		return Sums{}, err
	}
	modSum, err := SumMod(mod)
	if err != nil {
		return Sums{}, err
	}
	zipSum, err := c.ZipSum(ctx, m)
	if err != nil {
		return Sums{}, err
	}
	return Sums{Zip: zipSum, Mod: modSum}, nil
}

// ZipSum downloads the archive of a version into memory and hashes it. An
// archive that cannot be read as one is ErrMalformed: the server delivered
// it as complete.
func (c *Client) ZipSum(ctx context.Context, m module.Version) (string, error) {
	var archive chunks
	if _, err := c.Zip(ctx, m, &archive); err != nil {
		return "", err
	}
	hashing.Lock()
	defer hashing.Unlock()
	sum, err := SumZip(&archive, archive.size, c.maxZip())
	if err != nil {
		return "", fmt.Errorf("%w: archive of %s cannot be read as one", ErrMalformed, m)
	}
	return sum, nil
}

// hashing makes archives in memory be hashed one at a time: a limit of the bytes that
// are read does not count what the names of files take beside them.
var hashing sync.Mutex

// directoryShare is the part of what an archive may unpack to that its directory may
// have at most, as a divisor. In memory a directory takes up to eight times its size.
const directoryShare = 8

// SumMod returns the h1 hash of a go.mod file, as go.sum has it in its
// "/go.mod" lines.
func SumMod(mod []byte) (string, error) {
	sum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(mod)), nil
	})
	if err != nil {
		return "", fmt.Errorf("hash a go.mod file: %w", err)
	}
	return sum, nil
}

// SumZip returns the h1 hash of a module archive. At most limit bytes are
// unpacked in all, so that a small archive cannot keep the caller busy
// without end.
func SumZip(r io.ReaderAt, size, limit int64) (string, error) {
	archive, err := modcache.OpenZip(r, size, min(modcache.MaxDirectory, limit/directoryShare))
	if err != nil {
		return "", fmt.Errorf("open the archive: %w", err)
	}
	files := make(map[string]*zip.File, len(archive.File))
	names := make([]string, 0, len(archive.File))
	for _, file := range archive.File {
		if _, twice := files[file.Name]; twice {
			return "", fmt.Errorf("the archive holds a file %.200q twice", file.Name)
		}
		files[file.Name] = file
		names = append(names, file.Name)
	}
	left := limit
	sum, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		content, err := files[name].Open()
		if err != nil {
			return nil, err
		}
		return &budgetReader{ReadCloser: content, left: &left}, nil
	})
	if err != nil {
		return "", fmt.Errorf("hash the archive: %w", err)
	}
	return sum, nil
}

// budgetReader fails when the files read so far exceed what is left.
type budgetReader struct {
	io.ReadCloser
	left *int64
}

func (b *budgetReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	*b.left -= int64(n)
	if *b.left < 0 {
		return 0, errors.New("it unpacks to more than the limit")
	}
	return n, err
}
