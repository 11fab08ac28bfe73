package modcache

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"gocache.dev/operator/internal/domain/modcache/inflate"
)

// archive is an open zip.
type archive struct {
	file io.ReaderAt
	data []byte // the whole zip, if it is small
}

func (z *archive) ReadAt(p []byte, off int64) (int, error) {
	if z.data == nil {
		return z.file.ReadAt(p, off)
	}
	if off < 0 || off >= int64(len(z.data)) {
		return 0, io.EOF
	}
	n := copy(p, z.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// section is n bytes of the zip from off, valid until the next call.
func (z *archive) section(h *Hasher, off, n int64) ([]byte, error) {
	if z.data != nil {
		if off < 0 || n < 0 || off > int64(len(z.data))-n {
			return nil, io.ErrUnexpectedEOF
		}
		return z.data[off : off+n], nil
	}
	if int64(cap(h.in)) < n {
		h.in = make([]byte, n)
	}
	b := h.in[:n]
	if _, err := z.file.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// Names reads a module's zip as far as its directory: its files have the names
// and sizes that a module's may have. What they hold is not looked at.
func (h *Hasher) Names(f Source, m module.Version) error {
	_, sum, err := h.open(f, m)
	if err == nil {
		err = sum.Refused
	}
	return err
}

// open reads the zip's directory into h.entries and hashes its raw bytes.
func (h *Hasher) open(f Source, m module.Version) (*archive, ZipSum, error) {
	z := &archive{file: f}
	sum := ZipSum{Size: f.Size()}
	if f.Size() <= h.limit {
		data, err := f.ReadAll(h.raw, h.limit)
		if err != nil {
			return nil, sum, err
		}
		h.raw, z.data = data[:0:cap(data)], data
		if z.data == nil {
			z.data = []byte{}
		}
		sum.Size = int64(len(data))
		sum.Raw = sha256.Sum256(data)
	} else {
		raw, n, err := h.Raw(f)
		if err != nil {
			return nil, sum, err
		}
		sum.Raw, sum.Size = raw, n
	}
	sum.Read = sum.Size
	end, err := directoryEnd(z, sum.Size)
	if err != nil {
		return nil, sum, err
	}
	sum.Trailing = sum.Size - end
	r, err := OpenZip(z, sum.Size, MaxDirectory)
	if errors.Is(err, ErrLimit) || isReading(err) {
		return nil, sum, err
	}
	if err != nil {
		return nil, sum, contentError{err}
	}
	sum.Refused, err = h.list(r, m)
	return z, sum, err
}

// list reads the names. An error means that the zip has no sum: the go command
// does not keep it, or it is [ErrTooLarge]. refused is why it does not extract a zip that it keeps.
func (h *Hasher) list(r *zip.Reader, m module.Version) (refused, err error) {
	h.entries = h.entries[:0]
	clear(h.index)
	clear(h.names)
	prefix := m.Path + "@" + m.Version + "/"
	total := uint64(0)
	for _, f := range r.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return nil, badContent("%.200q does not begin with %q", f.Name, prefix)
		}
		if strings.Contains(name, "\n") {
			return nil, badContent("%.200q has a line end, which no checksum can have", f.Name)
		}
		if total += f.UncompressedSize64; f.UncompressedSize64 > modzip.MaxZipFile || total > modzip.MaxZipFile {
			return nil, badContent("%w: it extracts to more than %d bytes", ErrTooLarge, int64(modzip.MaxZipFile))
		}
		if refused == nil {
			refused = h.names.add(name, f.UncompressedSize64)
		}
		// A directory has no contents and is not extracted, but it is hashed.
		e := entry{name: name, zip: f}
		if name == "" || strings.HasSuffix(name, "/") {
			if f.UncompressedSize64 != 0 {
				return nil, badContent("%.200q is a directory with contents", f.Name)
			}
			e.sum, e.seen, e.found = sha256.Sum256(nil), true, true
		}
		h.index[name] = len(h.entries)
		h.entries = append(h.entries, e)
	}
	if len(h.index) < len(h.entries) { // a sum has the last of equal names, twice
		for i := range h.entries {
			h.entries[i].zip = h.entries[h.index[h.entries[i].name]].zip
		}
	}
	return refused, nil
}

// isSmall reports whether a file of the zip is read whole.
func (h *Hasher) isSmall(f *zip.File) bool {
	return f.UncompressedSize64 <= uint64(h.limit) && f.CompressedSize64 <= 2*uint64(h.limit) //nolint:gosec // positive
}

// content inflates one small file of the zip, valid until the next call. It checks
// what archive/zip would: sizes, the sum in the directory and the one after
// the data.
func (h *Hasher) content(z *archive, f *zip.File) ([]byte, error) {
	off, err := f.DataOffset()
	if err != nil {
		return nil, zipContent(f, err)
	}
	packed, size := int64(f.CompressedSize64), int(f.UncompressedSize64) //nolint:gosec // bounded above and by the caller
	src, err := z.section(h, off, packed)
	if err != nil {
		return nil, zipContent(f, err)
	}
	data := src
	switch f.Method {
	case zip.Store:
		if len(src) != size {
			return nil, badContent("%.200s: stored %d bytes instead of %d", f.Name, len(src), size)
		}
	case zip.Deflate:
		if cap(h.out) < size+inflate.Slack {
			h.out = make([]byte, size+size/4+inflate.Slack)
		}
		data = h.out[:size]
		if err := h.inflate.Decode(h.out[:size+inflate.Slack], size, src); err != nil {
			return nil, badContent("%.200s: %w", f.Name, err)
		}
	default:
		return nil, badContent("%.200s: unsupported compression method %d", f.Name, f.Method)
	}
	if err := h.checkCRC(z, f, off+packed, crc32.ChecksumIEEE(data)); err != nil {
		return nil, err
	}
	return data, nil
}

const (
	hasDescriptor       = 1 << 3
	descriptorSignature = 0x08074b50
)

// checkCRC compares the sum of the contents with the two places that may
// record it, as archive/zip's checksumReader does.
func (h *Hasher) checkCRC(z *archive, f *zip.File, end int64, crc uint32) error {
	if f.Flags&hasDescriptor == 0 {
		if f.CRC32 != 0 && f.CRC32 != crc {
			return badContent("%.200s: %w", f.Name, zip.ErrChecksum)
		}
		return nil
	}
	var buf [8]byte
	if _, err := z.ReadAt(buf[:], end); err != nil && !errors.Is(err, io.EOF) {
		return zipContent(f, err)
	}
	recorded := binary.LittleEndian.Uint32(buf[:])
	if recorded == descriptorSignature {
		recorded = binary.LittleEndian.Uint32(buf[4:])
	}
	if recorded != f.CRC32 || f.CRC32 != crc {
		return badContent("%.200s: %w", f.Name, zip.ErrChecksum)
	}
	return nil
}

// directoryEnd finds the end-of-directory record, and returns where the archive ends.
func directoryEnd(z *archive, size int64) (int64, error) {
	const record, comment = 22, 1<<16 - 1
	n := min(size, record+comment)
	buf := make([]byte, min(n, 1<<10))
	for {
		if _, err := z.ReadAt(buf, size-int64(len(buf))); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(buf) - record; i >= 0; i-- {
			if !bytes.HasPrefix(buf[i:], []byte("PK\x05\x06")) {
				continue
			}
			length := int64(binary.LittleEndian.Uint16(buf[i+20:]))
			if end := size - int64(len(buf)) + int64(i) + record + length; end <= size {
				return end, nil
			}
		}
		if int64(len(buf)) == n {
			return 0, contentError{zip.ErrFormat}
		}
		buf = make([]byte, n)
	}
}

// OpenZip reads the directory of a zip, of at most limit bytes. A file of it takes
// about eight times its shortest entry in memory. What is read counts, since
// archive/zip goes on beyond the size that the end record announces.
func OpenZip(r io.ReaderAt, size, limit int64) (*zip.Reader, error) {
	const ends = 128 << 10 // read to find the directory
	d := &directoryReader{ReaderAt: r, limit: limit, left: limit + ends}
	opened, err := zip.NewReader(d, size)
	d.limit = 0
	return opened, err
}

// directoryReader bounds what is read while limit is set.
type directoryReader struct {
	io.ReaderAt
	limit, left int64
}

// ReadAt implements io.ReaderAt.
func (d *directoryReader) ReadAt(p []byte, off int64) (int, error) {
	if d.limit > 0 {
		if d.left -= int64(len(p)); d.left < 0 {
			return 0, beyondLimit("the zip's directory is larger than %d bytes, and is not read", d.limit)
		}
	}
	return d.ReaderAt.ReadAt(p, off)
}
