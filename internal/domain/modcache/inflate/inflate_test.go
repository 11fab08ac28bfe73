package inflate_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gocache.dev/operator/internal/domain/modcache/inflate"
)

// standard inflates with the standard library.
func standard(src []byte, limit int) ([]byte, error) {
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(src)), int64(limit)))
}

func ours(d *inflate.Decoder, src []byte, size int) ([]byte, error) {
	dst := make([]byte, size+inflate.Slack)
	err := d.Decode(dst, size, src)
	return dst[:size], err
}

func deflate(tb testing.TB, data []byte, level int) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// corpus is text as modules hold it, and the extremes.
func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	skewed := make([]byte, 100_000) // long codes, hence second-level tables
	for i := range skewed {
		skewed[i] = byte(min(rng.ExpFloat64()*7, 255))
	}
	c := map[string][]byte{
		"empty": {}, "one": {'x'}, "zeros": make([]byte, 100_000), "noise": noise, "skewed": skewed,
		"period3": bytes.Repeat([]byte("abc"), 9999), "period7": bytes.Repeat([]byte("abcdefg"), 999), "period8": bytes.Repeat([]byte("abcdefgh"), 999),
	}
	files, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src", "net", "http", "*.go")) //nolint:staticcheck // sources of the running toolchain
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range files {
		if c[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

func TestDecode(t *testing.T) {
	var d inflate.Decoder
	for name, data := range corpus(t) {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
			got, err := ours(&d, deflate(t, data, level), len(data))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s, level %d: %v, equal: %t", name, level, err, bytes.Equal(got, data))
			}
		}
	}
}

func TestWrongSize(t *testing.T) {
	data := []byte("some text, some text, some text")
	src := deflate(t, data, 6)
	var d inflate.Decoder
	for _, size := range []int{0, 1, len(data) - 1, len(data) + 1, len(data) + 1000} {
		if _, err := ours(&d, src, size); err == nil {
			t.Errorf("accepted as %d bytes", size)
		}
	}
}

// bitWriter packs bits as RFC 1951 orders them: numbers from their lowest bit,
// codes from their highest.
type bitWriter struct {
	out  []byte
	bits int
}

func (w *bitWriter) number(value, n int) {
	for i := range n {
		if w.bits%8 == 0 {
			w.out = append(w.out, 0)
		}
		w.out[w.bits/8] |= byte(value>>i&1) << (w.bits % 8)
		w.bits++
	}
}

func (w *bitWriter) code(digits string) {
	for _, c := range digits {
		w.number(int(c-'0'), 1)
	}
}

// oneLetter is the stream of "a", in a block that describes so many codes of
// literals and of distances, most of them without use.
func oneLetter(literals, distances int) []byte {
	const none, one, zeros = "10", "11", "0" // the codes for lengths 0 and 1, and for a run of lengths 0
	w := &bitWriter{}
	w.number(1, 1) // the last block
	w.number(2, 2) // with codes of its own
	w.number(literals-257, 5)
	w.number(distances-1, 5)
	w.number(18-4, 4)
	for i := range 18 { // in the order 16, 17, 18, 0, …, 1
		w.number(map[int]int{2: 1, 3: 2, 17: 2}[i], 3)
	}
	run := func(n int) {
		for ; n >= 11; n -= min(n, 138) {
			w.code(zeros)
			w.number(min(n, 138)-11, 7)
		}
		for range n {
			w.code(none)
		}
	}
	run('a')
	w.code(one)
	run(256 - 'a' - 1)
	w.code(one)
	run(literals - 257)
	w.code(one)
	run(distances - 1)
	w.code("0") // a
	w.code("1") // the end
	return w.out
}

// A block may not describe more codes than there are symbols.
func TestNumberOfCodes(t *testing.T) {
	var d inflate.Decoder
	for _, tt := range []struct {
		literals, distances int
		fails               bool
	}{
		{257, 1, false}, {286, 30, false}, {257, 29, false}, {285, 1, false},
		{287, 30, true}, {288, 1, true}, {286, 31, true}, {257, 32, true}, {288, 32, true},
	} {
		src := oneLetter(tt.literals, tt.distances)
		agree(t, &d, src)
		got, err := ours(&d, src, 1)
		if tt.fails != errors.Is(err, inflate.ErrCorrupt) || !tt.fails && (err != nil || string(got) != "a") {
			t.Errorf("%d codes of literals, %d of distances: %q, %v", tt.literals, tt.distances, got, err)
		}
	}
}

// agree holds the decoder to what the standard library makes of the same bytes.
func agree(t *testing.T, d *inflate.Decoder, src []byte) {
	t.Helper()
	const limit = 1 << 20
	want, wantErr := standard(src, limit)
	if len(want) >= limit {
		return
	}
	got, err := ours(d, src, len(want))
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: error %v, the standard library says %v (%d bytes)", src, err, wantErr, len(want))
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%x: other contents than the standard library", src)
	}
}

// Damaged streams exercise the rejections far more than random bytes do.
func TestAgreesOnDamage(t *testing.T) {
	var d inflate.Decoder
	rng := rand.New(rand.NewPCG(3, 4))
	text := corpus(t)["server.go"][:3000]
	for _, level := range []int{flate.HuffmanOnly, 1, 9} {
		good := deflate(t, text, level)
		for range 4000 {
			bad := bytes.Clone(good)
			for range 1 + rng.IntN(3) {
				bad[rng.IntN(min(len(bad), 1+rng.IntN(len(bad))))] ^= 1 << rng.IntN(8)
			}
			agree(t, &d, bad[:len(bad)-rng.IntN(2)*rng.IntN(len(bad))])
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 9} {
		f.Add(deflate(f, []byte("hello, hello, hello, world"), level))
		f.Add(deflate(f, corpus(f)["server.go"][:2000], level))
	}
	f.Add([]byte{0x03, 0x00})
	var d inflate.Decoder
	f.Fuzz(func(t *testing.T, src []byte) { agree(t, &d, src) })
}

func BenchmarkDecode(b *testing.B) {
	src := deflate(b, corpus(b)["server.go"], 6)
	size := len(corpus(b)["server.go"])
	dst := make([]byte, size+inflate.Slack)
	var d inflate.Decoder
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			if err := d.Decode(dst, size, src); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard", func(b *testing.B) {
		b.SetBytes(int64(size))
		in := bytes.NewReader(src)
		r := flate.NewReader(in)
		for b.Loop() {
			in.Reset(src)
			if err := r.(flate.Resetter).Reset(in, nil); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, dst[:size]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
