package integrity_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/hostilezip"
)

// within fails a check that hangs.
func within(t *testing.T, limit time.Duration, o integrity.Options) integrity.Verdict {
	t.Helper()
	o.Now, o.Settle = time.Now(), time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type result struct {
		v   integrity.Verdict
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := integrity.Check(ctx, o)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.v
	case <-time.After(limit + 10*time.Second):
		t.Fatal("the check hangs")
	}
	panic("unreachable")
}

func mkdir(t *testing.T, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Links, pipes and sockets in every place, loops, and directories nested
// without end: nothing is followed, nothing blocks, nothing outside is read.
func TestHostileNames(t *testing.T) {
	root := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret, []byte("not ours"))
	mod, build := mkdir(t, root, "mod"), mkdir(t, root, "build")
	versions := mkdir(t, mod, "cache/download/example.com/m/@v")
	for i, place := range []string{mod, versions, mkdir(t, mod, "example.com/m@v1.0.0"), build, mkdir(t, build, "00"), mkdir(t, mod, "cache/download/sumdb")} {
		for name, make := range map[string]func(string) error{
			"pipe":                   func(n string) error { return syscall.Mkfifo(n, 0o600) },
			"link":                   func(n string) error { return os.Symlink(secret, n) },
			"loop":                   func(n string) error { return os.Symlink(".", n) },
			"self":                   func(n string) error { return os.Symlink(filepath.Base(n), n) },
			"\x1b[31m\n\xff":         func(n string) error { return os.WriteFile(n, nil, 0o600) },
			strings.Repeat("x", 255): func(n string) error { return os.WriteFile(n, nil, 0o600) },
		} {
			if err := make(filepath.Join(place, name)); err != nil {
				t.Fatal(i, name, err)
			}
		}
	}
	for _, name := range []string{"v1.0.0.zip", "v1.0.0.mod", "v1.0.0.info", "v1.0.0.ziphash", "v1.0.0.lock", "list"} {
		if err := syscall.Mkfifo(filepath.Join(versions, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range []string{"-a", "-d"} {
		id := "00" + strings.Repeat("ab", 31)
		if err := syscall.Mkfifo(filepath.Join(build, "00", id+suffix), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := within(t, 30*time.Second, integrity.Options{ModCache: mod, BuildCache: build})
	if v.Verdict != integrity.OutcomeCorrupt {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
	text := string(v.Fit(1 << 20))
	if strings.ContainsAny(text, "\x1b\n") || strings.Contains(text, "not ours") {
		t.Errorf("the report is not fit for a terminal: %s", text)
	}
}

func TestDeepTree(t *testing.T) {
	root := t.TempDir()
	// Deeper than a path may be long: it can only be made step by step.
	dir := mkdir(t, root, "mod", "example.com")
	t.Chdir(dir)
	for range 1200 {
		if err := os.Mkdir("deep", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chdir("deep"); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	v := within(t, 30*time.Second, integrity.Options{ModCache: filepath.Join(root, "mod")})
	if v.Verdict != integrity.Inconclusive || v.Findings[integrity.Unreadable] != 1 {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
}

// More entries in one directory than are looked at twice: each is reported, few
// are shown, and little is held.
func TestManyEntriesInOneDirectory(t *testing.T) {
	const n = 100_000
	shard := mkdir(t, t.TempDir(), "build", "00")
	dir, err := os.OpenRoot(shard) // to save the kernel the way there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	empty := ""
	for i := range n {
		name := fmt.Sprintf("00%062x-a", i)
		if i%50_000 > 0 { // a file system may bound the names of a file
			err = dir.Link(empty, name)
		} else {
			empty, err = name, dir.WriteFile(name, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v := within(t, 2*time.Minute, integrity.Options{BuildCache: filepath.Dir(shard)})
	runtime.ReadMemStats(&after)
	if v.Verdict != integrity.Intact || v.Recoverable != n || len(v.Examples) > 100 {
		t.Errorf("%s, %d recoverable, %d examples", v.Verdict, v.Recoverable, len(v.Examples))
	}
	if held := int64(after.HeapSys) - int64(before.HeapSys); held > 128<<20 {
		t.Errorf("%d MB held", held>>20)
	}
}

type zipFile struct {
	name string
	data []byte
}

func rawZip(t *testing.T, files ...zipFile) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, f := range files {
		out, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// bombSize is more than a check may allocate.
const bombSize = 128 << 20

// compressedZeros are bombSize zeros, compressed: a part that needs no other, many times over.
// The race detector would take minutes to compress all of them.
var compressedZeros = sync.OnceValues(func() ([]byte, error) {
	const part = 1 << 20
	var packed bytes.Buffer
	d, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := d.Write(make([]byte, part)); err != nil {
		return nil, err
	}
	if err := d.Flush(); err != nil { // up to a whole byte
		return nil, err
	}
	const end = "\x01\x00\x00\xff\xff" // a last block without content
	return append(bytes.Repeat(packed.Bytes(), bombSize/part), end...), nil
})

// bomb is a zip whose only file has a size of its own according to its header, and
// is bombSize zeros.
func bomb(t *testing.T, claim uint64) []byte {
	t.Helper()
	packed, err := compressedZeros()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	out, err := w.CreateRaw(&zip.FileHeader{Name: "example.com/m@v1.0.0/x", Method: zip.Deflate, CompressedSize64: uint64(len(packed)), UncompressedSize64: claim})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestBomb holds that what TestHostileZips takes for a bomb is one: it has all of its
// zeros, and more than the test lets a check allocate.
func TestBomb(t *testing.T) {
	packed, err := compressedZeros()
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(packed)))
	if err != nil || n != bombSize || n <= allocatedLimit || len(packed) > 1<<20 {
		t.Errorf("%d bytes hold %d, %v", len(packed), n, err)
	}
}

// unextractable are files that the go command does not extract, by what is wrong
// with them.
var unextractable = map[string][]zipFile{
	"same name twice":         {{"x", nil}, {"x", []byte("y")}},
	"case collision":          {{"README", nil}, {"readme", nil}},
	"collision by folding":    {{"longs.txt", nil}, {"long\u017f.txt", nil}},
	"directories collide":     {{"Sub/x", nil}, {"sub/y", nil}},
	"a file and a directory":  {{"x", nil}, {"x/y", nil}},
	"a directory and a file":  {{"x/", nil}, {"x", nil}},
	"backslash":               {{`a\b`, nil}},
	"reserved name":           {{"aux.txt", nil}},
	"leads out":               {{"../../x", nil}},
	"the go.mod of another":   {{"sub/go.mod", nil}},
	"a go.mod spelled wrong":  {{"sub/GO.MOD", nil}},
	"a license without limit": {{"LICENSE", make([]byte, 16<<20+1)}},
	"too large in all":        {{"1", empty64}, {"2", empty64}, {"3", empty64}, {"4", empty64}, {"5", empty64}, {"6", empty64}, {"7", empty64}, {"8", empty64}},
}

var empty64 = make([]byte, 64<<20)

// TestLimitIsNoFault holds that a zip which exceeds a limit of checks, and none of the
// go command, is not damaged: nothing is known of it.
func TestLimitIsNoFault(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "cache/download/example.com/m/@v/v1.0.0.zip"), hostilezip.Directory(20<<20, 20<<20))
	put(t, filepath.Join(root, "cache/download/example.com/m/@v/v1.0.0.ziphash"), []byte("h1:wD1iMyu54b00i1n3tD5IapKBSchONdG5ElqMgdlKRxI="))
	v := within(t, time.Minute, integrity.Options{ModCache: root, Workers: 1})
	if v.Verdict != integrity.Inconclusive || v.Findings[integrity.Unreadable] != 1 || len(v.Findings) != 1 {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
}

// allocatedLimit is how many bytes a check of one of these zips may allocate.
const allocatedLimit = 100 << 20

// Zips that no module has: names that lead out, twice the same name, names that
// collide on other file systems, sizes that lie.
func TestHostileZips(t *testing.T) {
	const at = "example.com/m@v1.0.0/"
	many := make([]zipFile, 0, 70_000)
	for i := range 70_000 { // more than a plain zip can count
		many = append(many, zipFile{fmt.Sprintf("%sf%d", at, i), nil})
	}
	type hostile struct {
		data []byte
		want integrity.Outcome
	}
	cases := map[string]hostile{
		"sound":         {rawZip(t, zipFile{at + "x.go", []byte("package x")}), integrity.Intact},
		"many files":    {rawZip(t, many...), integrity.Intact},
		"absolute name": {rawZip(t, zipFile{"/etc/passwd", nil}), integrity.OutcomeCorrupt},
		"other module":  {rawZip(t, zipFile{"example.com/other@v1.0.0/x", nil}), integrity.OutcomeCorrupt},
		"control":       {rawZip(t, zipFile{at + "a\nb", nil}), integrity.OutcomeCorrupt},
		"small bomb":    {bomb(t, 10), integrity.OutcomeCorrupt},
		"large bomb":    {bomb(t, 1<<40), integrity.OutcomeCorrupt},
		"garbage":       {bytes.Repeat([]byte("PK\x05\x06"), 50_000), integrity.OutcomeCorrupt},
	}
	for name, files := range unextractable {
		var named []zipFile
		for _, f := range files {
			named = append(named, zipFile{at + f.name, f.data})
		}
		cases[name] = hostile{rawZip(t, named...), integrity.OutcomeCorrupt}
	}
	for name, c := range cases {
		root := t.TempDir()
		put(t, filepath.Join(root, "cache/download/example.com/m/@v/v1.0.0.zip"), c.data)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v := within(t, time.Minute, integrity.Options{ModCache: root, Workers: 1})
		runtime.ReadMemStats(&after)
		if v.Verdict != c.want {
			t.Errorf("%s: %s: %+v", name, v.Verdict, v.Examples)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > allocatedLimit {
			t.Errorf("%s: %d MB allocated", name, used>>20)
		}
	}
}

// Files that change, grow, shrink and vanish under the reader: any verdict but
// a crash, a hang, or Corrupt after all is as it was.
func TestChangingFiles(t *testing.T) {
	tree := cachetree.New(t)
	archive := cachetree.Archive(t, tree)
	source := filepath.Join(tree.Extracted(cachetree.Lib), "lib.go")
	stop := make(chan struct{})
	stopped := make(chan struct{})
	originals := map[string][]byte{}
	for _, name := range []string{archive, source} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		originals[name] = data
	}
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			for name, data := range originals {
				select {
				case <-stop:
					_ = os.WriteFile(name, data, 0o600)
					return
				default:
				}
				switch i % 3 {
				case 0:
					_ = os.WriteFile(name, append(bytes.Clone(data), data...), 0o600)
				case 1:
					_ = os.Truncate(name, int64(len(data)/2))
				case 2:
					_ = os.Remove(name)
				}
			}
		}
	}()
	for range 10 {
		within(t, time.Minute, integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache})
	}
	close(stop)
	<-stopped
	for name, data := range originals {
		put(t, name, data)
	}
	if v := within(t, time.Minute, integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache}); v.Verdict != integrity.Intact {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
}

// TestHostileGoMod holds that a go.mod file takes not much more memory than it has bytes,
// and that one which is not parsed for that is not corrupt.
func TestHostileGoMod(t *testing.T) {
	const size = 16 << 20
	for name, piece := range map[string]string{"lines": "a\n", "blocks": "a (\n)\n", "tokens": "a ", "brackets": "[,", "strings": `""`} {
		mod := append([]byte("module example.com/m\n"), bytes.Repeat([]byte(piece), (size-100)/len(piece))...)
		root := t.TempDir()
		put(t, filepath.Join(root, "cache/download/example.com/m/@v/v1.0.0.mod"), mod)
		store := t.TempDir()
		put(t, filepath.Join(store, "example.com/m/@v/v1.0.0.mod"), mod)
		for where, o := range map[string]integrity.Options{"modules": {ModCache: root}, "store": {Store: store, Layout: "goproxy"}} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			o.Workers = 1
			v := within(t, time.Minute, o)
			runtime.ReadMemStats(&after)
			if v.Verdict != integrity.Inconclusive || v.Findings[integrity.Unreadable] != 1 {
				t.Errorf("%s, %s: %s: %.200s", name, where, v.Verdict, fmt.Sprint(v.Examples))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > allocatedLimit {
				t.Errorf("%s, %s: %d MB allocated", name, where, used>>20)
			}
		}
	}
}
