package modcache

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache/inflate"
)

const (
	// maxDirectory bounds the central directory of a zip that is read into
	// memory: about 200,000 files, far more than any module within the size
	// limit of golang.org/x/mod/zip has.
	maxDirectory = 16 << 20
	// maxFiles bounds the files of one extracted module.
	maxFiles = 400_000
	chunk    = 256 << 10
)

// ErrContent says that the bytes are wrong, as opposed to an error of the
// machine while reading them.
var ErrContent = errors.New("bad content")

// contentError marks an error as being about the bytes.
type contentError struct{ err error }

func (e contentError) Error() string        { return e.err.Error() }
func (e contentError) Unwrap() error        { return e.err }
func (e contentError) Is(target error) bool { return target == ErrContent }

func badContent(format string, args ...any) error {
	return contentError{fmt.Errorf(format, args...)}
}

// ZipSum is what hashing a zip told.
type ZipSum struct {
	H1       Sum               // of names and contents
	Raw      [sha256.Size]byte // of the zip file itself
	Size     int64             // of the zip file itself, in bytes
	Read     int64             // bytes hashed, zip and contents
	Files    int
	GoMod    [sha256.Size]byte // of the go.mod at the module's root; zero if it has none
	Trailing int64             // bytes after the end of the archive
}

// DirSum is what hashing an extracted module told.
type DirSum struct {
	H1    Sum
	Read  int64
	Files int
}

// Hasher hashes modules. It keeps its buffers between calls, so each worker
// needs its own.
type Hasher struct {
	limit   int64  // what is read whole; larger contents are streamed
	raw     []byte // a whole zip
	in      []byte // one compressed file of it
	out     []byte // the same inflated
	file    []byte // a file of a directory
	chunk   []byte // a piece of what is streamed
	line    []byte
	entries []entry
	index   map[string]int
	sha     hash.Hash
	inflate inflate.Decoder
}

type entry struct {
	name string // below the module's root
	sum  [sha256.Size]byte
	zip  *zip.File
	seen bool
}

// NewHasher makes a hasher that reads files up to limit bytes whole and
// streams larger ones.
func NewHasher(limit int64) *Hasher {
	return &Hasher{limit: max(limit, 64<<10), sha: sha256.New(), index: map[string]int{}}
}

// Raw is the sha256 of a file's bytes as they are. The file can be read from
// its start again afterwards.
func (h *Hasher) Raw(f *tree.File) ([sha256.Size]byte, int64, error) {
	h.sha.Reset()
	n, err := h.stream(h.sha, f)
	return h.sum(), n, errors.Join(err, f.Rewind())
}

func (h *Hasher) stream(dst io.Writer, src io.Reader) (int64, error) {
	if h.chunk == nil {
		h.chunk = make([]byte, chunk)
	}
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, h.chunk)
}

func (h *Hasher) sum() (s [sha256.Size]byte) {
	h.sha.Sum(s[:0])
	return s
}

// Dir hashes an extracted module.
func (h *Hasher) Dir(d *tree.Dir, m module.Version) (DirSum, error) {
	h.entries = h.entries[:0]
	var out DirSum
	err := h.walk(d, "", func(d *tree.Dir, name, rel string) error {
		f, err := d.Open(name)
		if err != nil {
			return specialIsContent(err)
		}
		sum, n, err := h.File(&f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		out.Read += n
		h.entries = append(h.entries, entry{name: rel, sum: sum})
		return nil
	})
	if err != nil {
		return DirSum{}, err
	}
	if m.Path == Toolchain {
		h.dropCopies()
	}
	out.Files = len(h.entries)
	out.H1 = h.hash1(m)
	return out, nil
}

// Toolchain is the module whose versions are Go releases. A module cannot hold
// other modules, so their go.mod files are named _go.mod in it, and the go
// command copies each to go.mod when it first runs the release
// (cmd/go/internal/toolchain/select.go): files that no zip has.
const Toolchain = "golang.org/toolchain"

// original is the name of the file that a toolchain's file may be a copy of.
func original(rel string) (string, bool) {
	dir, ok := strings.CutSuffix(rel, "/go.mod")
	return dir + "/_go.mod", ok
}

// dropCopies leaves out the files that the go command copied. One that is still
// empty is being copied, or will be again.
func (h *Hasher) dropCopies() {
	sums := map[string][sha256.Size]byte{}
	for i := range h.entries {
		if strings.HasSuffix(h.entries[i].name, "/_go.mod") {
			sums[h.entries[i].name] = h.entries[i].sum
		}
	}
	h.entries = slices.DeleteFunc(h.entries, func(e entry) bool {
		name, ok := original(e.name)
		want, copied := sums[name]
		return ok && copied && (e.sum == want || e.sum == sha256.Sum256(nil))
	})
}

func specialIsContent(err error) error {
	if errors.Is(err, tree.ErrNotRegular) {
		return contentError{err}
	}
	return err
}

// File is the sha256 of a file's bytes, which are read at once if they are few.
func (h *Hasher) File(f *tree.File) ([sha256.Size]byte, int64, error) {
	if f.Size() > h.limit {
		return h.Raw(f)
	}
	data, err := f.ReadAll(h.file, h.limit)
	if errors.Is(err, tree.ErrTooLarge) {
		return [sha256.Size]byte{}, 0, fmt.Errorf("%s: grew while it was read", f.Path())
	}
	if err != nil {
		return [sha256.Size]byte{}, 0, err
	}
	h.file = data[:0:cap(data)]
	return sha256.Sum256(data), int64(len(data)), nil
}

// walk calls fn for each regular file below d, in no particular order.
func (h *Hasher) walk(d *tree.Dir, prefix string, fn func(d *tree.Dir, name, rel string) error) error {
	files := 0
	return h.walkIn(d, prefix, &files, fn)
}

func (h *Hasher) walkIn(d *tree.Dir, prefix string, files *int, fn func(d *tree.Dir, name, rel string) error) error {
	return d.Each(func(e tree.Entry) error {
		rel := prefix + e.Name
		switch e.Type {
		case tree.Directory:
			sub, err := d.Sub(e.Name)
			if err != nil {
				return err
			}
			return errors.Join(h.walkIn(sub, rel+"/", files, fn), sub.Close())
		case tree.Regular:
			if *files++; *files > maxFiles {
				return badContent("holds more than %d files", maxFiles)
			}
			return fn(d, e.Name, rel)
		case tree.Symlink, tree.Special, tree.Unknown:
		}
		return badContent("%s is a %s: the go command extracts only files", rel, e.Type)
	})
}

// hash1 is dirhash.Hash1 over contents that are hashed already.
func (h *Hasher) hash1(m module.Version) Sum {
	slices.SortFunc(h.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	h.sha.Reset()
	for i := range h.entries {
		e := &h.entries[i]
		h.line = hex.AppendEncode(h.line[:0], e.sum[:])
		h.line = append(h.line, "  "...)
		h.line = append(h.line, m.Path...)
		h.line = append(h.line, '@')
		h.line = append(h.line, m.Version...)
		h.line = append(h.line, '/')
		h.line = append(h.line, e.name...)
		h.line = append(h.line, '\n')
		_, _ = h.sha.Write(h.line) // a hash never fails
	}
	return h.sum()
}

// Zip hashes a module's zip.
func (h *Hasher) Zip(f *tree.File, m module.Version) (ZipSum, error) {
	z, sum, err := h.open(f, m)
	if err != nil {
		return sum, err
	}
	return sum, h.rest(z, m, &sum)
}

// Pair hashes a module's zip and compares the extracted directory with it byte
// by byte, which costs less than hashing both. same is false when the directory
// deviates in any way; [Hasher.Dir] then tells its own sum. An error that is
// [ErrContent] is about the zip.
func (h *Hasher) Pair(f *tree.File, d *tree.Dir, m module.Version) (sum ZipSum, same bool, err error) {
	z, sum, err := h.open(f, m)
	if err != nil {
		return sum, false, err
	}
	same, err = h.compare(z, d, m, &sum)
	if err != nil {
		return sum, false, err
	}
	for i := range h.entries {
		same = same && h.entries[i].seen
	}
	return sum, same, h.rest(z, m, &sum)
}

var errDeviates = errors.New("deviates")

// compare reads each file of the directory and inflates its counterpart. A
// deviation ends it early: what was not hashed is left to rest.
func (h *Hasher) compare(z *archive, d *tree.Dir, m module.Version, sum *ZipSum) (bool, error) {
	clear(h.index)
	for i := range h.entries {
		h.index[h.entries[i].name] = i
	}
	err := h.walk(d, "", func(d *tree.Dir, name, rel string) error {
		i, ok := h.index[rel]
		if from, copied := original(rel); !ok && copied && m.Path == Toolchain {
			i, ok = h.index[from]
		}
		if !ok {
			return errDeviates
		}
		f, err := d.Open(name)
		if err != nil {
			return errors.Join(errDeviates, err)
		}
		same, err := h.compareFile(z, &h.entries[i], &f, sum)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if !same {
			return errDeviates
		}
		return nil
	})
	var inZip zipError
	switch {
	case errors.As(err, &inZip):
		return false, err
	case err != nil:
		// The directory's own check says what is wrong with it.
		return false, nil
	}
	return true, nil
}

// zipError marks what is wrong with the zip while both are read.
type zipError struct{ error }

func (e zipError) Unwrap() error { return e.error }

func (h *Hasher) compareFile(z *archive, e *entry, f *tree.File, sum *ZipSum) (bool, error) {
	size := int64(e.zip.UncompressedSize64) //nolint:gosec // bounded when the directory was read
	if f.Size() != size {
		return false, nil
	}
	if size > h.limit {
		if err := h.entry(z, e, sum); err != nil {
			return false, zipError{err}
		}
		got, n, err := h.Raw(f)
		sum.Read += n
		return got == e.sum, err
	}
	data, err := h.content(z, e.zip)
	if err != nil {
		return false, zipError{err}
	}
	e.sum, e.seen = sha256.Sum256(data), true
	got, err := f.ReadAll(h.file, h.limit)
	if err != nil {
		return false, err
	}
	h.file = got[:0:cap(got)]
	sum.Read += 2 * size
	return bytes.Equal(got, data), nil
}

// rest hashes the entries that nothing has hashed yet and makes the sum.
func (h *Hasher) rest(z *archive, m module.Version, sum *ZipSum) error {
	for i := range h.entries {
		if e := &h.entries[i]; !e.seen {
			if err := h.entry(z, e, sum); err != nil {
				return err
			}
		}
		if h.entries[i].name == "go.mod" {
			sum.GoMod = h.entries[i].sum
		}
	}
	sum.Files = len(h.entries)
	sum.H1 = h.hash1(m)
	return nil
}

func (h *Hasher) entry(z *archive, e *entry, sum *ZipSum) error {
	size := int64(e.zip.UncompressedSize64) //nolint:gosec // bounded when the directory was read
	if size <= h.limit {
		data, err := h.content(z, e.zip)
		if err != nil {
			return err
		}
		e.sum, e.seen = sha256.Sum256(data), true
		sum.Read += size
		return nil
	}
	r, err := e.zip.Open()
	if err != nil {
		return zipContent(e.zip, err)
	}
	h.sha.Reset()
	n, err := h.stream(h.sha, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return zipContent(e.zip, err)
	}
	e.sum, e.seen = h.sum(), true
	sum.Read += n
	return nil
}

// zipContent says which file of the zip an error is about. Errors of reading
// the zip's file itself stay what they are.
func zipContent(f *zip.File, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return err
	}
	return badContent("%.200s: %w", f.Name, err)
}

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
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// open reads the zip's directory into h.entries and hashes its raw bytes.
func (h *Hasher) open(f *tree.File, m module.Version) (*archive, ZipSum, error) {
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
	r, err := zip.NewReader(z, sum.Size)
	if err != nil {
		return nil, sum, contentError{err}
	}
	return z, sum, h.list(r, m)
}

// list checks the names as golang.org/x/mod/zip does before it extracts, and
// that the contents stay within its limits.
func (h *Hasher) list(r *zip.Reader, m module.Version) error {
	h.entries = h.entries[:0]
	prefix := m.Path + "@" + m.Version + "/"
	total := uint64(0)
	for _, f := range r.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return badContent("%.200q does not begin with %q", f.Name, prefix)
		}
		if total += f.UncompressedSize64; f.UncompressedSize64 > modzip.MaxZipFile || total > modzip.MaxZipFile {
			return badContent("extracts to more than %d bytes", int64(modzip.MaxZipFile))
		}
		// A directory has no contents and is not extracted, but it is hashed.
		file, isDir := strings.CutSuffix(name, "/")
		if name != "" {
			if err := module.CheckFilePath(file); err != nil {
				return contentError{err}
			}
		}
		e := entry{name: name, zip: f}
		if isDir || name == "" {
			if f.UncompressedSize64 != 0 {
				return badContent("%.200q is a directory with contents", f.Name)
			}
			e.sum, e.seen = sha256.Sum256(nil), true
		}
		h.entries = append(h.entries, e)
	}
	return h.collisions()
}

// collisions finds names that are equal, or equal but for case: a file system
// that folds case could not hold both.
func (h *Hasher) collisions() error {
	clear(h.index)
	for i := range h.entries {
		name := h.entries[i].name
		folded := strings.ToLower(name)
		if j, ok := h.index[folded]; ok {
			return badContent("%.200q and %.200q collide", h.entries[j].name, name)
		}
		h.index[folded] = i
	}
	return nil
}

// content inflates one file of the zip, valid until the next call. It checks
// what archive/zip would: sizes, the sum in the directory and the one after
// the data.
func (h *Hasher) content(z *archive, f *zip.File) ([]byte, error) {
	off, err := f.DataOffset()
	if err != nil {
		return nil, zipContent(f, err)
	}
	if f.CompressedSize64 > uint64(h.limit)*2 || f.Flags&1 != 0 {
		return nil, badContent("%.200s: has impossible sizes or is encrypted", f.Name)
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
	if _, err := z.ReadAt(buf[:], end); err != nil && err != io.EOF {
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

// directoryEnd finds the end-of-directory record, refuses a directory that is
// too large to be read into memory, and returns where the archive ends.
func directoryEnd(z *archive, size int64) (int64, error) {
	const record, comment = 22, 1<<16 - 1
	n := min(size, record+comment)
	buf := make([]byte, min(n, 1<<10))
	for {
		if _, err := z.ReadAt(buf, size-int64(len(buf))); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(buf) - record; i >= 0; i-- {
			if !bytes.HasPrefix(buf[i:], []byte("PK\x05\x06")) {
				continue
			}
			dir := uint64(binary.LittleEndian.Uint32(buf[i+12:]))
			if dir == 1<<32-1 {
				dir = directory64(z, size-int64(len(buf))+int64(i))
			}
			if dir > maxDirectory {
				return 0, badContent("the zip's directory is too large: %d bytes", dir)
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

// directory64 is the size of the directory of a zip with more files than the
// plain record can count. end is where the plain record begins.
func directory64(z *archive, end int64) uint64 {
	const locator, record = 20, 56
	var buf [record]byte
	if _, err := z.ReadAt(buf[:locator], end-locator); err != nil || !bytes.HasPrefix(buf[:], []byte("PK\x06\x07")) {
		return 0 // archive/zip says what is wrong
	}
	at := binary.LittleEndian.Uint64(buf[8:])
	if at > uint64(end) { //nolint:gosec // a position in the file
		return 0
	}
	if _, err := z.ReadAt(buf[:], int64(at)); err != nil { //nolint:gosec // checked above
		return 0
	}
	return binary.LittleEndian.Uint64(buf[40:])
}
