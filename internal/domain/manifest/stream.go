package manifest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxLine bounds a line: a module path and a version are at most 4 KiB each.
const maxLine = 16 << 10

// Writer writes a manifest.
type Writer struct {
	out   io.Writer
	sha   hash.Hash
	buf   []byte
	last  Record
	count int
	err   error
}

// NewWriter begins a manifest. out may be nil when only the digest is needed.
func NewWriter(out io.Writer) *Writer {
	if out == nil {
		out = io.Discard
	}
	return &Writer{out: out, sha: sha256.New(), buf: append(make([]byte, 0, 64<<10), header+"\n"...)}
}

// Write adds a record. Records must come in the order of the format.
func (w *Writer) Write(r *Record) error {
	if w.err != nil {
		return w.err
	}
	if w.count > 0 && order(&w.last, r) >= 0 {
		w.err = fmt.Errorf("manifest: %s out of order after %s", r.Key(), w.last.Key())
		return w.err
	}
	w.last = *r
	w.count++
	w.buf = r.append(w.buf)
	if len(w.buf) > cap(w.buf)-2*maxLine {
		w.flush()
	}
	return w.err
}

func (w *Writer) flush() {
	_, _ = w.sha.Write(w.buf) // a hash never fails
	if _, err := w.out.Write(w.buf); err != nil && w.err == nil {
		w.err = fmt.Errorf("writing the manifest: %w", err)
	}
	w.buf = w.buf[:0]
}

// Close ends the manifest and returns its digest. It does not close the
// underlying writer.
func (w *Writer) Close() (digest string, err error) {
	w.buf = fmt.Appendf(w.buf, "end %d\n", w.count)
	w.flush()
	return "sha256:" + hex.EncodeToString(w.sha.Sum(nil)), w.err
}

// Reader reads a manifest record by record.
type Reader struct {
	in    *bufio.Reader
	sha   hash.Hash
	last  Record
	count int
	begun bool
	done  bool
}

// NewReader reads the text form.
func NewReader(in io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, maxLine), sha: sha256.New()}
}

// Next is the next record, or io.EOF after the last one of a manifest that is
// complete.
func (r *Reader) Next() (Record, error) {
	rec, err := r.next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("manifest, record %d: %w", r.count+1, err)
	}
	return rec, err
}

func (r *Reader) next() (Record, error) {
	if r.done {
		return Record{}, io.EOF
	}
	if !r.begun {
		line, err := r.line()
		if err != nil {
			return Record{}, err
		}
		if line != header {
			return Record{}, fmt.Errorf("does not begin with %q", header)
		}
		r.begun = true
	}
	line, err := r.line()
	if err != nil {
		return Record{}, err
	}
	if count, ok := strings.CutPrefix(line, "end "); ok {
		return Record{}, r.end(count)
	}
	rec, err := parseRecord(line)
	if err != nil {
		return Record{}, err
	}
	if r.count > 0 && order(&r.last, &rec) >= 0 {
		return Record{}, fmt.Errorf("%s is out of order", rec.Key())
	}
	r.last = rec
	r.count++
	return rec, nil
}

func (r *Reader) end(count string) error {
	if count != strconv.Itoa(r.count) {
		return fmt.Errorf("ends after %d records but announces %.20q", r.count, count)
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("goes on after its end")
	}
	r.done = true
	return io.EOF
}

func (r *Reader) line() (string, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		return "", errors.New("ends too early")
	}
	if err != nil {
		return "", err
	}
	_, _ = r.sha.Write(line) // a hash never fails
	return string(line[:len(line)-1]), nil
}

// Digest is the digest of what was read, once Next has returned io.EOF.
func (r *Reader) Digest() string { return "sha256:" + hex.EncodeToString(r.sha.Sum(nil)) }

// Open reads a manifest file, compressed or not.
func Open(name string) (*Reader, io.Closer, error) {
	f, err := os.Open(name) //nolint:gosec // the caller names the file
	if err != nil {
		return nil, nil, err
	}
	r, closer, err := NewCompressedReader(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return r, closers{closer, f}, nil
}

// NewCompressedReader reads the form on a volume, compressed or not. Closing it
// leaves the file open.
func NewCompressedReader(file io.Reader) (*Reader, io.Closer, error) {
	in := bufio.NewReader(file)
	// A file that is shorter, or cannot be read, is an error when it is read.
	if magic, _ := in.Peek(4); !bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return NewReader(in), closers{}, nil
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, nil, err
	}
	return NewReader(z), z.IOReadCloser(), nil
}

type closers []io.Closer

// Close closes all.
func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// Compress makes a writer for the form on a volume. Closing it ends the
// compressed stream and leaves out open.
func Compress(out io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
}
