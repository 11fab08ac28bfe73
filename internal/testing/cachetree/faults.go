package cachetree

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// Fault is one way in which a cache breaks.
type Fault struct {
	Name string
	// Class is the class that a check must report, and Severity the severity
	// that it must report: note, recoverable, corrupt or unreadable.
	Class    string
	Severity string
	// Also is another class that is found besides, for faults of two parts.
	Also string
	// Trusted is the class that it has, as recoverable, where trust data vouches for
	// what nothing in the cache does.
	Trusted string
	// Trust is set if only data from outside the cache can show it.
	Trust   bool
	Inflict func(testing.TB, *Tree)
}

// download is a file of Lib or Dep in the download directory.
func (t *Tree) download(m module.Version, suffix string) string {
	esc, err := module.EscapePath(m.Path)
	if err != nil {
		panic(err)
	}
	return filepath.Join(t.ModCache, "cache", "download", esc, "@v", m.Version+suffix)
}

// Extracted is the directory of an extracted module.
func (t *Tree) Extracted(m module.Version) string {
	esc, err := module.EscapePath(m.Path)
	if err != nil {
		panic(err)
	}
	return filepath.Join(t.ModCache, esc+"@"+m.Version)
}

// Edit changes a file in place and keeps its times, as bit rot does.
func Edit(tb testing.TB, name string, change func([]byte) []byte) {
	tb.Helper()
	info, err := os.Stat(name)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(name) //nolint:gosec // a file of the tree
	if err != nil {
		tb.Fatal(err)
	}
	must(tb, os.Chmod(name, 0o600))
	must(tb, os.WriteFile(name, change(bytes.Clone(data)), 0o600))
	must(tb, os.Chmod(name, info.Mode().Perm()))
	must(tb, os.Chtimes(name, info.ModTime(), info.ModTime()))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// The ways to change a file.
func invert(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 0x10; return b }
}
func invertHalf(b []byte) []byte { b[len(b)/2] ^= 0x10; return b }
func half(b []byte) []byte       { return b[:len(b)/2] }
func empty([]byte) []byte        { return nil }
func zeros(b []byte) []byte      { return make([]byte, len(b)) }
func grow(b []byte) []byte       { return append(b, "trailing"...) }
func to(s string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(s) }
}

func edit(pick func(testing.TB, *Tree) string, change func([]byte) []byte) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		Edit(tb, pick(tb, t), change)
	}
}

func remove(pick func(testing.TB, *Tree) string) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		must(tb, os.RemoveAll(pick(tb, t)))
	}
}

func libFile(suffix string) func(testing.TB, *Tree) string {
	return func(_ testing.TB, t *Tree) string { return t.download(Lib, suffix) }
}

func libDir(rel string) func(testing.TB, *Tree) string {
	return func(_ testing.TB, t *Tree) string { return filepath.Join(t.Extracted(Lib), rel) }
}

func libList(_ testing.TB, t *Tree) string {
	return filepath.Join(filepath.Dir(t.download(Lib, ".zip")), "list")
}

func write(pick func(testing.TB, *Tree) string, content string) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		must(tb, os.WriteFile(pick(tb, t), []byte(content), 0o600))
	}
}

func both(fs ...func(testing.TB, *Tree)) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		for _, f := range fs {
			f(tb, t)
		}
	}
}

func old(pick func(testing.TB, *Tree) string, age time.Duration) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		then := time.Now().Add(-age)
		must(tb, os.Chtimes(pick(tb, t), then, then))
	}
}

func replaceBy(pick func(testing.TB, *Tree) string, make func(name string) error) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		name := pick(tb, t)
		must(tb, os.RemoveAll(name))
		must(tb, make(name))
	}
}

func fifo(name string) error    { return syscall.Mkfifo(name, 0o600) }
func dir(name string) error     { return os.Mkdir(name, 0o700) }
func outside(name string) error { return os.Symlink("/etc/hostname", name) }
func loop(name string) error    { return os.Symlink(filepath.Base(name), name) }

func mode(pick func(testing.TB, *Tree) string, m fs.FileMode) func(testing.TB, *Tree) {
	return func(tb testing.TB, t *Tree) {
		tb.Helper()
		must(tb, os.Chmod(pick(tb, t), m))
	}
}

// ModuleFaults are the ways in which a module cache breaks.
func ModuleFaults() []Fault {
	return []Fault{
		{Name: "inverted bit in zip data", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".zip"), invert(200))},
		{Name: "inverted bit in zip data, not extracted", Class: "Corrupt", Severity: "corrupt", Inflict: both(edit(libFile(".zip"), invert(200)), remove(libDir("")))},
		{Name: "inverted bit in a name of the zip directory", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".zip"), invertDirectoryName)},
		{Name: "inverted bit in a CRC of the zip directory", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".zip"), invertDirectoryCRC)},
		{Name: "inverted bit in the zip's end record", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".zip"), invert(-22))},
		{Name: "zip truncated to half", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".zip"), half)},
		{Name: "zip truncated to half, not extracted", Class: "Truncated", Severity: "corrupt", Inflict: both(edit(libFile(".zip"), half), remove(libDir("")))},
		{Name: "zip emptied", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".zip"), empty)},
		{Name: "zip of zeros", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".zip"), zeros)},
		{Name: "zip with trailing data", Class: "Malformed", Severity: "recoverable", Inflict: edit(libFile(".zip"), grow)},
		{Name: "zip replaced by another intact one", Class: "Corrupt", Severity: "corrupt", Inflict: otherZip},
		{Name: "zip missing", Class: "Missing", Severity: "recoverable", Inflict: remove(libFile(".zip"))},
		{Name: "zip is a directory", Class: "Malformed", Severity: "corrupt", Inflict: replaceBy(libFile(".zip"), dir)},
		{Name: "zip is a link", Class: "Malformed", Severity: "corrupt", Inflict: replaceBy(libFile(".zip"), outside)},
		{Name: "zip unreadable by mode", Class: "BadMode", Severity: "corrupt", Inflict: mode(libFile(".zip"), 0)},

		{Name: "edited source", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libDir("lib.go"), func(b []byte) []byte { return bytes.Replace(b, []byte("(n, n)"), []byte("(n, 1)"), 1) })},
		{Name: "inverted bit in extracted data", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libDir("testdata/d.bin"), invertHalf)},
		{Name: "source deleted", Class: "Corrupt", Severity: "corrupt", Inflict: remove(libDir("sub/sub.go"))},
		{Name: "README deleted", Class: "Corrupt", Severity: "corrupt", Inflict: remove(libDir("README.md"))},
		{Name: "source added", Class: "Corrupt", Severity: "corrupt", Inflict: write(libDir("evil.go"), "package lib\n\nfunc init() { println(\"evil\") }\n")},
		{Name: "link added to the source", Class: "Corrupt", Severity: "corrupt", Inflict: replaceBy(libDir("more.go"), outside)},
		{Name: "source replaced by a link", Class: "Corrupt", Severity: "corrupt", Inflict: replaceBy(libDir("lib.go"), outside)},
		{Name: "source replaced by a looping link", Class: "Corrupt", Severity: "corrupt", Inflict: replaceBy(libDir("lib.go"), loop)},
		{Name: "source replaced by a pipe", Class: "Corrupt", Severity: "corrupt", Inflict: replaceBy(libDir("lib.go"), fifo)},
		{Name: "module directory is a link", Class: "Malformed", Severity: "corrupt", Inflict: linkedModule},
		{Name: "nothing vouches for the extracted module", Class: "Unverifiable", Severity: "corrupt", Trusted: "Missing", Inflict: both(remove(libFile(".zip")), remove(libFile(".ziphash")))},
		{Name: "source edited and zip gone", Class: "Corrupt", Severity: "corrupt", Also: "Missing", Inflict: both(remove(libFile(".zip")), edit(libDir("lib.go"), grow))},
		{Name: "source edited and .ziphash gone", Class: "Corrupt", Severity: "corrupt", Also: "Missing", Inflict: both(remove(libFile(".ziphash")), edit(libDir("lib.go"), grow))},

		{Name: ".ziphash missing", Class: "Missing", Severity: "recoverable", Inflict: remove(libFile(".ziphash"))},
		{Name: ".ziphash empty", Class: "Truncated", Severity: "recoverable", Inflict: edit(libFile(".ziphash"), empty)},
		{Name: ".ziphash of zeros", Class: "Truncated", Severity: "recoverable", Inflict: edit(libFile(".ziphash"), zeros)},
		{Name: ".ziphash with a zero", Class: "Truncated", Severity: "recoverable", Inflict: edit(libFile(".ziphash"), func(b []byte) []byte { b[20] = 0; return b })},
		{Name: "inverted bit in .ziphash", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".ziphash"), otherDigit)},
		{Name: "inverted bit in .ziphash, not extracted", Class: "Corrupt", Severity: "corrupt", Inflict: both(edit(libFile(".ziphash"), otherDigit), remove(libDir("")))},
		{Name: ".ziphash is no base64", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".ziphash"), func(b []byte) []byte { b[9] = '!'; return b })},

		{Name: "inverted bit in .mod", Class: "Corrupt", Severity: "corrupt", Inflict: edit(libFile(".mod"), invertHalf)},
		{Name: ".mod empty", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".mod"), empty)},
		{Name: ".mod of zeros", Class: "Truncated", Severity: "corrupt", Inflict: edit(libFile(".mod"), zeros)},
		{Name: "other .mod and no zip", Class: "ChecksumMismatch", Severity: "corrupt", Trust: true, Inflict: both(remove(libFile(".zip")), remove(libFile(".ziphash")), remove(libDir("")), edit(libFile(".mod"), grown("\n// more\n")))},

		{Name: ".info is garbage", Class: "Malformed", Severity: "recoverable", Inflict: edit(libFile(".info"), to("{garbage"))},
		{Name: ".info of zeros", Class: "Malformed", Severity: "recoverable", Inflict: edit(libFile(".info"), zeros)},
		{Name: ".info of another version", Class: "Inconsistent", Severity: "corrupt", Inflict: edit(libFile(".info"), to(`{"Version":"v1.2.9","Time":"2024-01-02T03:04:05Z"}`))},
		{Name: "list padded with zeros", Class: "Malformed", Severity: "recoverable", Inflict: edit(libList, func(b []byte) []byte { return append(b, make([]byte, 16)...) })},
		{Name: "list is garbage", Class: "Malformed", Severity: "recoverable", Inflict: edit(libList, to("garbage\n"))},
		{Name: "list names a version that is not there", Class: "Inconsistent", Severity: "recoverable", Inflict: edit(libList, grown("v1.9.0\n"))},

		{Name: "extraction under way", Class: "InFlight", Severity: "note", Inflict: both(write(libFile(".partial"), ""), remove(libDir("sub")))},
		{Name: "extraction abandoned", Class: "Stray", Severity: "recoverable", Inflict: both(write(libFile(".partial"), ""), old(libFile(".partial"), 3*time.Hour), remove(libDir("sub")))},
		{Name: "download under way", Class: "InFlight", Severity: "note", Inflict: write(libFile(".zip123.tmp"), "PK")},
		{Name: "stray file", Class: "Stray", Severity: "note", Inflict: write(libFile(".bak"), "x")},

		{Name: "consistent forgery", Class: "ChecksumMismatch", Severity: "corrupt", Trust: true, Inflict: forge},
	}
}

func grown(s string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, s...) }
}

// otherDigit changes one base64 digit of a sum into another one.
func otherDigit(b []byte) []byte {
	raw, err := base64.StdEncoding.DecodeString(string(b[3:]))
	if err != nil {
		panic(err)
	}
	raw[10] ^= 4
	return append(b[:3], base64.StdEncoding.EncodeToString(raw)...)
}

func centralEntry(b []byte) int { return bytes.Index(b, []byte("PK\x01\x02")) }

func invertDirectoryName(b []byte) []byte {
	b[centralEntry(b)+46+len("example.com/lib@v1.2.0/")] ^= 1
	return b
}
func invertDirectoryCRC(b []byte) []byte { b[centralEntry(b)+16] ^= 1; return b }

// otherZip puts a zip in place that is intact in itself.
func otherZip(tb testing.TB, t *Tree) {
	tb.Helper()
	must(tb, os.WriteFile(t.download(Lib, ".zip"), forgedZip(tb), 0o600))
}

func forgedZip(tb testing.TB) []byte {
	tb.Helper()
	files := map[string]string{}
	for name, content := range lib.files {
		files[name] = content
	}
	files["lib.go"] = strings.Replace(files["lib.go"], "(n, n)", "(n, 1)", 1)
	data, err := Zip(Lib, files)
	must(tb, err)
	return data
}

// forge replaces zip, .ziphash and source, so that they agree.
func forge(tb testing.TB, t *Tree) {
	tb.Helper()
	otherZip(tb, t)
	sum, err := dirhash.HashZip(t.download(Lib, ".zip"), dirhash.Hash1)
	must(tb, err)
	must(tb, os.WriteFile(t.download(Lib, ".ziphash"), []byte(sum), 0o600))
	Edit(tb, filepath.Join(t.Extracted(Lib), "lib.go"), func(b []byte) []byte {
		return bytes.Replace(b, []byte("(n, n)"), []byte("(n, 1)"), 1)
	})
}

// linkedModule moves the extracted module out of the tree and links to it.
func linkedModule(tb testing.TB, t *Tree) {
	tb.Helper()
	elsewhere := filepath.Join(t.Root, "elsewhere")
	must(tb, os.Rename(t.Extracted(Lib), elsewhere))
	must(tb, os.Symlink(elsewhere, t.Extracted(Lib)))
}

// entries lists the files of the build cache with a suffix, in a fixed order.
func (t *Tree) entries(tb testing.TB, suffix string, expected func(path string, data []byte) bool) []string {
	tb.Helper()
	var found []string
	must(tb, filepath.WalkDir(t.BuildCache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // a file of the tree
		if err == nil && expected(path, data) {
			found = append(found, path)
		}
		return err
	}))
	slices.Sort(found)
	return found
}

func (t *Tree) entry(tb testing.TB, what, suffix string, expected func(path string, data []byte) bool) string {
	tb.Helper()
	found := t.entries(tb, suffix, expected)
	if len(found) == 0 {
		tb.Fatalf("the build cache holds no %s", what)
	}
	return found[0]
}

// Archive is the built package example.com/lib.
func Archive(tb testing.TB, t *Tree) string {
	tb.Helper()
	return t.entry(tb, "archive", "-d", func(_ string, data []byte) bool {
		return bytes.HasPrefix(data, []byte("!<arch>")) && bytes.Contains(data, []byte("example.com/lib")) && bytes.Contains(data, []byte("Twice"))
	})
}

// IndexOf is the index of a module's packages.
func IndexOf(tb testing.TB, t *Tree) string {
	tb.Helper()
	return t.entry(tb, "module index", "-d", func(_ string, data []byte) bool {
		return bytes.HasPrefix(data, []byte("go index v"))
	})
}

// ActionOf is the action entry of the built package.
func ActionOf(tb testing.TB, t *Tree) string {
	tb.Helper()
	id := strings.TrimSuffix(filepath.Base(Archive(tb, t)), "-d")
	return t.entry(tb, "action entry", "-a", func(_ string, data []byte) bool { return bytes.Contains(data, []byte(" "+id+" ")) })
}

// executable is an output in the form of a directory.
func executable(tb testing.TB, t *Tree) string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(t.BuildCache, "*", "*-d", "*"))
	must(tb, err)
	if len(found) == 0 {
		tb.Skip("this Go release keeps no executables")
	}
	return found[0]
}

func inBuild(name string) func(testing.TB, *Tree) string {
	return func(_ testing.TB, t *Tree) string { return filepath.Join(t.BuildCache, name) }
}

// hexDigit changes a hexadecimal digit into another one.
func hexDigit(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		if b[at] == '0' {
			b[at] = '1'
		} else {
			b[at] = '0'
		}
		return b
	}
}

// BuildFaults are the ways in which a build cache breaks.
func BuildFaults() []Fault {
	const action, output, size = 3, 3 + 65, 3 + 65 + 65
	return []Fault{
		{Name: "inverted bit in an archive", Class: "Corrupt", Severity: "corrupt", Inflict: edit(Archive, invertHalf)},
		{Name: "inverted bit in a module index", Class: "Corrupt", Severity: "corrupt", Inflict: edit(IndexOf, invertHalf)},
		{Name: "inverted bit in an executable", Class: "Corrupt", Severity: "corrupt", Inflict: edit(executable, invertHalf)},
		{Name: "archive of zeros", Class: "Corrupt", Severity: "corrupt", Inflict: edit(Archive, zeros)},
		{Name: "archive unreadable by mode", Class: "BadMode", Severity: "corrupt", Inflict: mode(Archive, 0)},
		{Name: "archive truncated to half", Class: "Truncated", Severity: "recoverable", Inflict: edit(Archive, half)},
		{Name: "archive short of its last byte", Class: "Truncated", Severity: "recoverable", Inflict: edit(Archive, func(b []byte) []byte { return b[:len(b)-1] })},
		{Name: "archive emptied", Class: "Truncated", Severity: "recoverable", Inflict: edit(Archive, empty)},
		{Name: "archive grown", Class: "Truncated", Severity: "recoverable", Inflict: edit(Archive, grow)},
		{Name: "module index truncated to half", Class: "Truncated", Severity: "recoverable", Inflict: edit(IndexOf, half)},
		{Name: "archive deleted", Class: "Dangling", Severity: "recoverable", Inflict: remove(Archive)},
		{Name: "archive is an empty directory", Class: "Truncated", Severity: "recoverable", Inflict: replaceBy(Archive, dir)},
		{Name: "archive is a link", Class: "Malformed", Severity: "corrupt", Inflict: replaceBy(Archive, outside)},
		{Name: "archive is a pipe", Class: "Malformed", Severity: "corrupt", Inflict: replaceBy(Archive, fifo)},
		{Name: "entry is a pipe", Class: "Malformed", Severity: "corrupt", Inflict: replaceBy(ActionOf, fifo)},
		{Name: "executable with a second file", Class: "Malformed", Severity: "corrupt", Inflict: func(tb testing.TB, t *Tree) {
			tb.Helper()
			must(tb, os.WriteFile(filepath.Join(filepath.Dir(executable(tb, t)), "AAA"), []byte("x"), 0o600))
		}},
		{Name: "executable deleted", Class: "Truncated", Severity: "recoverable", Inflict: remove(executable)},
		{Name: "entry truncated to half", Class: "Truncated", Severity: "recoverable", Inflict: edit(ActionOf, half)},
		{Name: "entry emptied", Class: "Truncated", Severity: "recoverable", Inflict: edit(ActionOf, empty)},
		{Name: "entry of zeros", Class: "Truncated", Severity: "recoverable", Inflict: edit(ActionOf, zeros)},
		{Name: "entry with trailing data", Class: "Malformed", Severity: "recoverable", Inflict: edit(ActionOf, grow)},
		{Name: "inverted bit in an entry's action", Class: "Malformed", Severity: "recoverable", Inflict: edit(ActionOf, hexDigit(action+7))},
		{Name: "inverted bit in an entry's output", Class: "Dangling", Severity: "recoverable", Inflict: edit(ActionOf, hexDigit(output+7))},
		{Name: "inverted bit in an entry's size", Class: "Inconsistent", Severity: "recoverable", Inflict: edit(ActionOf, otherSize(size))},
		{Name: "inverted bit in an entry's version", Class: "Malformed", Severity: "recoverable", Inflict: edit(ActionOf, invert(1))},
		{Name: "trim.txt is garbage", Class: "Malformed", Severity: "recoverable", Inflict: write(inBuild("trim.txt"), "garbage")},
		{Name: "testexpire.txt is garbage", Class: "Malformed", Severity: "recoverable", Inflict: write(inBuild("testexpire.txt"), "garbage")},
		{Name: "stray file", Class: "Stray", Severity: "note", Inflict: write(inBuild("note.txt"), "x")},
		{Name: "orphaned output", Class: "Orphan", Severity: "note", Inflict: orphan},
		{Name: "all entries old", Inflict: aged},
		{Name: "fuzz corpus", Inflict: func(tb testing.TB, t *Tree) {
			tb.Helper()
			must(tb, os.MkdirAll(filepath.Join(t.BuildCache, "fuzz", "example.com", "lib", "FuzzX"), 0o700))
		}},
	}
}

func otherSize(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		last := at + 19
		b[last] = '0' + (b[last]-'0'+1)%10
		return b
	}
}

// orphan adds an output that no entry names.
func orphan(tb testing.TB, t *Tree) {
	tb.Helper()
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of hello
	must(tb, os.WriteFile(filepath.Join(t.BuildCache, sum[:2], sum+"-d"), []byte("hello"), 0o600))
}

// aged makes all entries old, as they are in an old snapshot.
func aged(tb testing.TB, t *Tree) {
	tb.Helper()
	then := time.Now().Add(-10 * 24 * time.Hour)
	for _, suffix := range []string{"-a", "-d"} {
		for _, name := range t.entries(tb, suffix, func(string, []byte) bool { return true }) {
			must(tb, os.Chtimes(name, then, then))
		}
	}
}

// Missing reports whether a path of the tree is gone.
func Missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
