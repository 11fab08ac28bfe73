package campaign_test

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// goClean removes all modules in the order in which the file system lists them.
const goClean = "clean -modcache"

// left is what there is of the extracted modules.
type left struct {
	// incomplete is one that lacks files. The go command reads it as it is, even if it
	// downloads the zip again: it takes a directory for complete that has a .ziphash and no
	// .partial.
	incomplete string
	// alone is one that is complete, and nothing beside it confirms that.
	alone string
}

// interrupted judges what an interrupted clean has left: if it has removed some files of
// an extracted module, builds read the others, and only Corrupt is right.
func (p *play) interrupted(v integrity.Verdict) {
	p.Helper()
	l := p.left()
	text := fmt.Sprintf("seed %d, episode %d: go %s, interrupted: %s: %s", *seed, p.number, goClean, v.Verdict, worst(v))
	switch {
	case l.incomplete != "" && v.Verdict != integrity.OutcomeCorrupt:
		p.done.Missed = append(p.done.Missed, text+"; "+l.incomplete+" is incomplete")
		p.Error(text, l)
	case l == left{} && v.Verdict != integrity.Intact:
		p.done.False = append(p.done.False, text)
		p.Error(text)
	case l.incomplete != "":
		p.done.HalfCleaned++
	}
	if l != (left{}) {
		p.reset()
	}
}

// left compares the extracted modules with what the proxy has.
func (p *play) left() (l left) {
	downloads := filepath.Join(p.tree.ModCache, "cache", "download")
	err := filepath.WalkDir(p.tree.ModCache, func(dir string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && !d.IsDir():
			return nil
		case err != nil:
			return err
		case dir == filepath.Join(p.tree.ModCache, "cache"):
			return fs.SkipDir
		case !strings.Contains(d.Name(), "@"):
			return nil
		}
		rel, err := filepath.Rel(p.tree.ModCache, dir)
		p.must(err)
		escaped, version, _ := strings.Cut(filepath.ToSlash(rel), "@")
		path, err := module.UnescapePath(escaped)
		p.must(err)
		record := filepath.Join(downloads, filepath.FromSlash(escaped), "@v", version)
		published := filepath.Join(p.tree.Proxy, filepath.FromSlash(escaped), "@v", version+".zip")
		if exists(record+".partial") || !exists(published) { // not read as it is; of GOROOT
			return fs.SkipDir
		}
		want := p.files(published)
		got, err := dirhash.HashDir(dir, path+"@"+version, dirhash.Hash1)
		p.must(err)
		switch {
		case got != want:
			l.incomplete = rel
		case !exists(record+".zip") && !exists(record+".ziphash"):
			l.alone = rel
		}
		return fs.SkipDir
	})
	p.must(err)
	return l
}

// files is the sum of the files of a zip, without entries for directories.
func (p *play) files(name string) string {
	p.Helper()
	r, err := zip.OpenReader(name)
	p.must(err)
	defer func() { _ = r.Close() }()
	all := map[string]*zip.File{}
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			all[f.Name] = f
		}
	}
	sum, err := dirhash.Hash1(slices.Collect(maps.Keys(all)), func(name string) (io.ReadCloser, error) { return all[name].Open() })
	p.must(err)
	return sum
}

// Whatever an interrupted clean leaves is Corrupt if, and only if, a build would read
// what it has damaged.
func TestCampaignOfInterruptedCleans(t *testing.T) {
	if *rounds == 0 {
		t.Skip("run by make go-campaign")
	}
	var done tally
	n := (*rounds + 9) / 10
	for number := range n {
		t.Run("clean", func(t *testing.T) {
			p := play{T: t, tree: cachetree.New(t), rng: rand.New(rand.NewPCG(*seed, uint64(number))), done: &done} //nolint:gosec // repeatable
			p.must(publish(p.tree.Proxy))
			p.proxy = serve(p.tree.Proxy, p.rng)
			p.Cleanup(p.proxy.Close)
			for _, query := range []string{"example.com/a@v1.2.0", "example.com/dirs@v1.0.0", "example.com/crlf@v1.0.0"} {
				p.wait(p.start(words("mod download "+query)), slow)
			}
			if p.wait(p.start(words(goClean)), time.Duration(p.rng.IntN(60_000))*time.Microsecond) {
				p.interrupted(p.check(""))
			}
		})
	}
	t.Logf("%d cleans, %d of which left a module in part; %d false alarms, %d misses", n, done.HalfCleaned, len(done.False), len(done.Missed))
}

// The go command reads a module of which an interrupted clean has left some files, after
// it has downloaded it again.
func TestIncompleteModuleIsRead(t *testing.T) {
	tree := cachetree.New(t)
	dir := tree.Extracted(cachetree.Lib)
	for _, name := range []string{".zip", ".ziphash"} {
		p := filepath.Join(tree.ModCache, "cache", "download", filepath.FromSlash(cachetree.Lib.Path), "@v", cachetree.Lib.Version+name)
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	const gone = "README.md"
	if err := errors.Join(os.Chmod(dir, 0o700), os.Remove(filepath.Join(dir, gone))); err != nil { //nolint:gosec // of the test
		t.Fatal(err)
	}
	cmd, err := tree.Command("build", "-o", os.DevNull, ".")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if exists(filepath.Join(dir, gone)) {
		t.Error("the go command has extracted the module again: what an interrupted clean leaves is recoverable")
	}
}
