package manifest_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modsum"
)

func sum(b byte) (s modsum.Sum)      { s[0] = b; return s }
func id(b ...byte) (i buildcache.ID) { copy(i[:], b); return i }

func records() []manifest.Record {
	return []manifest.Record{
		{Kind: manifest.Module, Version: module.Version{Path: "example.com/Upper", Version: "v1.0.0"}, Zip: sum(1), Raw: id(2), Size: 77, GoMod: sum(3), Dir: sum(1)},
		{Kind: manifest.Module, Version: module.Version{Path: "example.com/a", Version: "v1.0.0"}, GoMod: sum(4)},
		{Kind: manifest.Stored, Version: module.Version{Path: "example.com/a", Version: "v1.0.0"}, Zip: sum(9), Raw: id(8), Size: 5},
		{Kind: manifest.Action, Action: id(0, 1), Output: id(7), Size: 10},
		{Kind: manifest.Action, Action: id(0, 2), Output: id(8), Size: 0},
		{Kind: manifest.Output, Output: id(0, 1), Size: 10},
		{Kind: manifest.Executable, Output: id(0, 9), Size: 11},
		{Kind: manifest.Action, Action: id(1), Output: id(7), Size: 10},
	}
}

func text(t *testing.T, recs []manifest.Record) (string, string) {
	t.Helper()
	var buf bytes.Buffer
	w := manifest.NewWriter(&buf)
	for i := range recs {
		if err := w.Write(&recs[i]); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf.String(), digest
}

func read(in string) ([]manifest.Record, string, error) {
	r := manifest.NewReader(strings.NewReader(in))
	var recs []manifest.Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return recs, r.Digest(), nil
		}
		if err != nil {
			return nil, "", err
		}
		recs = append(recs, rec)
	}
}

func TestRoundTrip(t *testing.T) {
	in, digest := text(t, records())
	got, gotDigest, err := read(in)
	if err != nil || gotDigest != digest {
		t.Fatalf("digest %s, want %s: %v", gotDigest, digest, err)
	}
	if diff := cmp.Diff(records(), got); diff != "" {
		t.Error(diff)
	}
}

// TestCompressed holds that a manifest is read as it was written, whether the file is
// compressed or not.
func TestCompressed(t *testing.T) {
	plain, digest := text(t, records())
	var packed bytes.Buffer
	z, err := manifest.Compress(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"compressed": packed.String(), "plain": plain} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, closer, err := manifest.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) || n-1 != len(records()) || r.Digest() != digest {
			t.Errorf("%s: %d records, digest %s, want %d and %s: %v", name, n-1, r.Digest(), len(records()), digest, err)
		}
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := manifest.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// A manifest that was truncated, reordered or spelled otherwise is refused: what it
// lists decides what is trusted.
func TestRefuses(t *testing.T) {
	good, _ := text(t, records())
	lines := strings.SplitAfter(good, "\n")
	reversed := append([]string{lines[0], lines[2], lines[1]}, lines[3:]...)
	for name, in := range map[string]string{
		"empty": "", "cut": good[:len(good)-20], "no end": strings.Join(lines[:len(lines)-2], ""),
		"line lost": strings.Join(append(lines[:1:1], lines[2:]...), ""), "order": strings.Join(reversed, ""),
		"twice": strings.Join(append([]string{lines[0], lines[1]}, lines[1:]...), ""), "more": good + "x\n",
		"other header": "x" + good, "upper case": strings.Replace(good, "0200", "0A00", 1),
		"padded size": strings.Replace(good, " 77 ", " 077 ", 1), "spaces": strings.Replace(good, " 77 ", "  77 ", 1),
	} {
		if _, _, err := read(in); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	recs := records()
	w := manifest.NewWriter(nil)
	if err := w.Write(&recs[1]); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&recs[0]); err == nil {
		t.Error("accepted records out of order")
	}
}

func TestDiff(t *testing.T) {
	from := records()
	to := append([]manifest.Record{}, records()...)
	to[0].Zip, to[0].Dir = sum(99), modsum.Sum{} // other contents
	to[1].Zip, to[1].Raw = sum(5), id(6)         // one side has the zip
	to[2].Raw = id(55)                           // repacked
	to[3].Output = id(33)                        // other output
	to[5].Size = 12                              // impossible for one content
	to = append(to[:4], to[5:]...)               // one entry less
	to = append(to, manifest.Record{Kind: manifest.Output, Output: id(1), Size: 1})
	a, _ := text(t, from)
	b, _ := text(t, to)
	var got []string
	err := manifest.Diff(manifest.NewReader(strings.NewReader(a)), manifest.NewReader(strings.NewReader(b)), func(c manifest.Change) error {
		got = append(got, string(c.Kind)+" "+c.Key[:min(len(c.Key), 26)])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"changed m example.com/Upper@v1.0.0", "parts m example.com/a@v1.0.0", "repacked s example.com/a@v1.0.0",
		"rebuilt a 000100000000000000000000", "removed a 000200000000000000000000", "changed d 000100000000000000000000", "added d 010000000000000000000000",
	}
	for i := range want {
		if i < len(got) && len(want[i]) > len(got[i]) {
			want[i] = want[i][:len(got[i])]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzRead(f *testing.F) {
	var buf bytes.Buffer
	w := manifest.NewWriter(&buf)
	for _, r := range records() {
		if err := w.Write(&r); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.String())
	f.Add("gocache-manifest 1\nend 0\n")
	f.Fuzz(func(t *testing.T, in string) {
		recs, digest, err := read(in)
		if err != nil {
			return
		}
		again, againDigest := text(t, recs)
		if again != in || againDigest != digest {
			t.Fatalf("%q is accepted but written as %q", in, again)
		}
	})
}

// What keeps a manifest from being read is reported, and not taken for its
// content.
func TestReadErrors(t *testing.T) {
	good, _ := text(t, records())
	for name, tt := range map[string]struct {
		in   io.Reader
		want error
	}{
		"at once":         {iotest.ErrReader(syscall.EIO), syscall.EIO},
		"after a line":    {io.MultiReader(strings.NewReader(good[:strings.Index(good, "\n")+1]), iotest.ErrReader(syscall.EIO)), syscall.EIO},
		"within a line":   {io.MultiReader(strings.NewReader(good[:len(good)-20]), iotest.ErrReader(syscall.EIO)), syscall.EIO},
		"an endless line": {io.MultiReader(strings.NewReader(good), strings.NewReader(strings.Repeat("x", 1<<20))), nil},
		"a first one":     {strings.NewReader(strings.Repeat("x", 1<<20)), bufio.ErrBufferFull},
	} {
		r := manifest.NewReader(tt.in)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if errors.Is(err, io.EOF) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
