package modcache

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"gocache.dev/operator/internal/domain/modsum"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache/inflate"
)

const (
	// MaxDirectory bounds the central directory of a zip that is read into
	// memory: about 200,000 files, far more than any module within the size
	// limit of golang.org/x/mod/zip has.
	MaxDirectory = 16 << 20
	// maxFiles bounds the files of one extracted module.
	maxFiles = 400_000
	chunk    = 256 << 10
)

// ErrContent means that the content is malformed or corrupt, as opposed to an
// error of the machine while reading it.
var ErrContent = errors.New("bad content")

// ErrLimit means that content exceeds a limit of checks, and none of the go command:
// nothing is known of it.
var ErrLimit = errors.New("beyond a limit of checks")

// ErrTooLarge means that a zip extracts to more than the go command extracts. It keeps
// such a zip, which has no sum here: its contents are of no use, and would take long.
// Such an error is [ErrContent] as well.
var ErrTooLarge = errors.New("more than a module may have")

// contentError marks an error as being about the bytes.
type contentError struct{ err error }

func (e contentError) Error() string        { return e.err.Error() }
func (e contentError) Unwrap() error        { return e.err }
func (e contentError) Is(target error) bool { return target == ErrContent }

// limitError marks an error as being about a limit of checks.
type limitError struct{ error }

func (e limitError) Unwrap() error      { return e.error }
func (limitError) Is(target error) bool { return target == ErrLimit }

func beyondLimit(format string, args ...any) error {
	return limitError{fmt.Errorf(format, args...)}
}

func badContent(format string, args ...any) error {
	return contentError{fmt.Errorf(format, args...)}
}

// ZipSum is the result of hashing a zip.
type ZipSum struct {
	H1    modsum.Sum        // of names and contents
	Raw   [sha256.Size]byte // of the zip file itself
	Size  int64             // of the zip file itself, in bytes
	Read  int64             // bytes hashed, zip and contents
	Files int
	GoMod [sha256.Size]byte // of the go.mod at the module's root; zero if it has none
	// GoModText is the sum of the same go.mod with each line ending in LF alone.
	GoModText [sha256.Size]byte
	Trailing  int64 // bytes after the end of the archive
	// Refused is why the go command keeps this zip and does not extract it, such as
	// for the name of a file; nil: it does.
	Refused error
}

// DirSum is the result of hashing an extracted module.
type DirSum struct {
	H1    modsum.Sum
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
	names   names
	sha     hash.Hash
	inflate inflate.Decoder
}

type entry struct {
	name string // below the module's root
	sum  [sha256.Size]byte
	zip  *zip.File
	seen bool // hashed
	// found: the extracted module has it, or need not.
	found bool
}

// NewHasher makes a hasher that reads files up to limit bytes whole and
// streams larger ones.
func NewHasher(limit int64) *Hasher {
	return &Hasher{limit: max(limit, 64<<10), sha: sha256.New(), index: map[string]int{}, names: names{}}
}

// Source is a file to be hashed, such as a [tree.File]. ReadAll fails for more
// than limit bytes, and may use buf.
type Source interface {
	io.Reader
	io.ReaderAt
	Size() int64
	ReadAll(buf []byte, limit int64) ([]byte, error)
	Rewind() error
}

// Raw is the sha256 of a file's bytes as they are. The file can be read from
// its start again afterwards.
func (h *Hasher) Raw(f Source) ([sha256.Size]byte, int64, error) {
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
	err := h.walk(d, "", func(d *tree.Dir, file tree.Entry, rel string) error {
		f, err := d.OpenEntry(file)
		if err != nil {
			return specialIsContent(err)
		}
		sum, n, err := h.File(&f)
		if err = errors.Join(err, legible(f.Path(), f.Info()), f.Close()); err != nil {
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

// maxGuessed bounds how many lines are hashed to find out which directories a zip
// had entries for.
const maxGuessed = 1 << 18

// DirWithoutZip is [Hasher.Dir] where no zip can be compared with. Some zips have
// entries for directories. The go command counts them in the sum and extracts
// files alone, so that the sum of an intact directory is another one. If it is not
// required, entries for all directories, for all but the root, and, as long as
// they are few, for each choice of them are added, and the sum that is required is
// returned. Files are never left out or added, so whatever has that sum is intact.
func (h *Hasher) DirWithoutZip(d *tree.Dir, m module.Version, required func(modsum.Sum) bool) (DirSum, error) {
	out, err := h.Dir(d, m)
	if err != nil || required(out.H1) {
		return out, err
	}
	files := slices.Clone(h.entries)
	dirs := directories(files)
	try := func(chosen func(int) bool) bool {
		h.entries = append(h.entries[:0], files...)
		for i, name := range dirs {
			if chosen(i) {
				h.entries = append(h.entries, entry{name: name, sum: sha256.Sum256(nil)})
			}
		}
		sum := h.hash1(m)
		if required(sum) {
			out.H1 = sum
			return true
		}
		return false
	}
	if try(func(int) bool { return true }) || try(func(i int) bool { return dirs[i] != "" }) {
		return out, nil
	}
	if len(dirs) > 16 || len(files)<<len(dirs) > maxGuessed {
		return out, nil
	}
	for choice := range 1 << len(dirs) {
		if try(func(i int) bool { return choice>>i&1 == 1 }) {
			break
		}
	}
	return out, nil
}

// directories are those that files are in, with a slash at the end, and the root,
// which has no name.
func directories(files []entry) []string {
	all := []string{""}
	for _, f := range files {
		for i, c := range f.name {
			if c == '/' {
				all = append(all, f.name[:i+1])
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Toolchain is the module whose versions are Go releases. A module cannot hold
// other modules, so their go.mod files are named _go.mod in it, and the go
// command copies each to go.mod when it first runs the release
// (cmd/go/internal/toolchain/select.go): files that no zip has.
const Toolchain = "golang.org/toolchain"

// FIPS140 is the module whose versions are the snapshots of a Go release's
// cryptography that GOFIPS140 selects. The go command extracts them from
// lib/fips140 in its own GOROOT (cmd/go/internal/fips140/fips140.go), so a cache
// has neither zip nor .ziphash of them.
const FIPS140 = "golang.org/fips140"

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

// legible is an error for a file or directory whose mode lets no user read it.
func legible(path string, info tree.Info) error {
	if !info.Legible() {
		return &fs.PathError{Op: "open", Path: path, Err: tree.ErrBadMode}
	}
	return nil
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

// walk calls fn for each regular file below d, in no particular order. An error of fn,
// of a directory's mode or of anything that is no file ends it, and the caller takes it
// for the reason why the module has no sum: Corrupt or Unreadable. So walk cannot report
// anything harmless about a file or directory. That needs a field of [DirSum], and of
// [ZipSum] for modules that [Hasher.Pair] compares, as ZipSum.Refused is one for a zip.
func (h *Hasher) walk(d *tree.Dir, prefix string, fn func(d *tree.Dir, e tree.Entry, rel string) error) error {
	files := 0
	return h.walkIn(d, prefix, &files, fn)
}

func (h *Hasher) walkIn(d *tree.Dir, prefix string, files *int, fn func(d *tree.Dir, e tree.Entry, rel string) error) error {
	return d.Each(func(e tree.Entry) error {
		rel := prefix + e.Name
		switch e.Type {
		case tree.Directory:
			sub, err := d.Sub(e.Name)
			if err != nil {
				return err
			}
			info, err := sub.Stat(".")
			if err == nil {
				err = legible(sub.Path(), info)
			}
			if err == nil {
				err = h.walkIn(sub, rel+"/", files, fn)
			}
			return errors.Join(err, sub.Close())
		case tree.Regular:
			if *files++; *files > maxFiles {
				return beyondLimit("holds more than %d files, which is not checked", maxFiles)
			}
			return fn(d, e, rel)
		case tree.Symlink, tree.Special, tree.Unknown:
		}
		return badContent("%s is a %s: the go command extracts only files", rel, e.Type)
	})
}

// hash1 is dirhash.Hash1 over contents that are hashed already.
func (h *Hasher) hash1(m module.Version) modsum.Sum {
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
func (h *Hasher) Zip(f Source, m module.Version) (ZipSum, error) {
	z, sum, err := h.open(f, m)
	if err != nil {
		return sum, err
	}
	return sum, h.rest(z, m, &sum)
}

// Pair hashes a module's zip and compares the extracted directory with it byte
// by byte, which costs less than hashing both. same is false when the directory
// deviates in any way; [Hasher.Dir] then returns its own sum. An error that is
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
		same = same && h.entries[i].found
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
	err := h.walk(d, "", func(d *tree.Dir, file tree.Entry, rel string) error {
		i, ok := h.index[rel]
		if from, copied := original(rel); !ok && copied && m.Path == Toolchain {
			i, ok = h.index[from] // which must be there as well
		} else if ok {
			h.entries[i].found = true
		}
		if !ok {
			return errDeviates
		}
		f, err := d.OpenEntry(file)
		if err != nil {
			return errors.Join(errDeviates, err)
		}
		same, err := h.compareFile(z, &h.entries[i], &f, sum)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if !same || legible(f.Path(), f.Info()) != nil {
			return errDeviates
		}
		return nil
	})
	var inZip zipError
	switch {
	case errors.As(err, &inZip):
		return false, err
	case err != nil:
		return false, nil //nolint:nilerr // the directory's own check says what is wrong with it
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
	if !h.isSmall(e.zip) {
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
		if e := &h.entries[i]; e.name == "go.mod" {
			sum.GoMod = e.sum
			if err := h.goModText(z, e.zip, sum); err != nil {
				return err
			}
		}
	}
	sum.Files = len(h.entries)
	sum.H1 = h.hash1(m)
	return nil
}

// goModText hashes the go.mod with the line ends that version control may have
// changed in an archive.
func (h *Hasher) goModText(z *archive, f *zip.File, sum *ZipSum) error {
	if !h.isSmall(f) {
		return nil
	}
	data, err := h.content(z, f)
	if err == nil {
		sum.GoModText = TextSum(data)
	}
	return err
}

// TextSum is the sum of a text with each line ending in LF alone, the last one
// too.
func TextSum(text []byte) [sha256.Size]byte {
	return sha256.Sum256(bytes.TrimSuffix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n")))
}

// Unread hashes a zip's raw bytes, and of its contents only the go.mod: H1 is
// left out. It is for a zip that was hashed before.
func (h *Hasher) Unread(f Source, m module.Version) (ZipSum, error) {
	z, sum, err := h.open(f, m)
	if err != nil {
		return sum, err
	}
	for i := range h.entries {
		if e := &h.entries[i]; e.name == "go.mod" {
			if err := h.entry(z, e, &sum); err != nil {
				return sum, err
			}
			sum.GoMod = e.sum
			return sum, h.goModText(z, e.zip, &sum)
		}
	}
	return sum, nil
}

func (h *Hasher) entry(z *archive, e *entry, sum *ZipSum) error {
	size := int64(e.zip.UncompressedSize64) //nolint:gosec // bounded when the directory was read
	if h.isSmall(e.zip) {
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

// zipContent adds to an error the file of the zip that it is about. Errors of
// reading the zip's file itself are unchanged.
func zipContent(f *zip.File, err error) error {
	if isReading(err) {
		return err
	}
	return badContent("%.200s: %w", f.Name, err)
}

// isReading reports whether an error is one of reading a file.
func isReading(err error) bool {
	var pathErr *fs.PathError
	return errors.As(err, &pathErr)
}
