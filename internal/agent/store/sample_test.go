package store_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/cachetree"
)

// shelf is a store in GOPROXY layout that is filled by hand.
type shelf struct {
	t     *testing.T
	dir   string
	watch *store.Watch
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: t.TempDir()}
	var err error
	s.watch, err = store.New(store.Options{Flags: caches.Flags{Store: s.dir, Layout: "goproxy", Workers: 1}, Clock: time.Now, Stderr: io.Discard})
	must(t, err)
	return s
}

// put stores a module; change spoils its files, by their endings.
func (s *shelf) put(m module.Version, change ...func(files map[string][]byte)) (sampled probe.Sampled) {
	s.t.Helper()
	archive, err := cachetree.Zip(m, map[string]string{"go.mod": "module " + m.Path + "\n", "x.go": "package x // " + m.Path + "\n"})
	must(s.t, err)
	files := map[string][]byte{"info": fmt.Appendf(nil, `{"Version":%q}`, m.Version), "mod": []byte("module " + m.Path + "\n"), "zip": archive}
	for _, f := range change {
		f(files)
	}
	at := filepath.Join(s.dir, m.Path, "@v")
	must(s.t, os.MkdirAll(at, 0o750))
	for ext, content := range files {
		must(s.t, os.WriteFile(filepath.Join(at, m.Version+"."+ext), content, 0o600))
	}
	sampled.Version = m
	sampled.Zip, err = goproxy.SumZip(bytes.NewReader(archive), int64(len(archive)), 1<<20)
	must(s.t, err)
	sampled.Mod, err = goproxy.SumMod(files["mod"])
	must(s.t, err)
	return sampled
}

// sample is what the agent's report names after a check.
func (s *shelf) sample() []probe.Sampled {
	s.t.Helper()
	s.watch.Check(s.t.Context())
	server := httptest.NewServer(s.watch.Handler())
	defer server.Close()
	report, err := probe.Target{Agent: server.URL}.Store(s.t.Context())
	must(s.t, err)
	if report.Verdict == nil {
		s.t.Fatal("no check has ended")
	}
	return report.Sample
}

func numbered(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/m%d", n), Version: "v1.0.0"}
}

// TestSample holds that what is named lies in the store as a whole, with its
// sums, and that the sums are those that were seen first.
func TestSample(t *testing.T) {
	s := newShelf(t)
	if got := s.sample(); len(got) != 0 {
		t.Errorf("an empty store has the sample %v", got)
	}
	want := s.put(numbered(0))
	s.put(numbered(1), func(files map[string][]byte) { files["zip"] = files["zip"][:len(files["zip"])/2] })
	s.put(numbered(2), func(files map[string][]byte) { files["mod"] = []byte("module example.com/other\n") })
	s.put(numbered(3), func(files map[string][]byte) { files["info"] = []byte("<html>") })
	s.put(numbered(4), func(files map[string][]byte) { files["zip"] = append(make([]byte, 1<<20), files["zip"]...) })
	s.put(numbered(5), func(files map[string][]byte) { delete(files, "mod") })
	if diff := cmp.Diff([]probe.Sampled{want}, s.sample()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.put(numbered(0), func(files map[string][]byte) { files["mod"] = append(files["mod"], "// altered\n"...) })
	if diff := cmp.Diff([]probe.Sampled{want}, s.sample()); diff != "" {
		t.Errorf("after its go.mod was altered, -want +got:\n%s", diff)
	}
}

// TestLargestSample holds how large the archive of a sampled module may be.
func TestLargestSample(t *testing.T) {
	const most = 256 << 10
	of := func(size int) []byte {
		t.Helper()
		for content := size; ; {
			random := make([]byte, content)
			_, err := rand.Read(random)
			must(t, err)
			archive, err := cachetree.Zip(numbered(0), map[string]string{"go.mod": "module example.com/m0\n", "x": string(random)})
			must(t, err)
			if len(archive) == size {
				return archive
			}
			content += size - len(archive)
		}
	}
	for size, samples := range map[int]int{most: 1, most + 1: 0} {
		s := newShelf(t)
		s.put(numbered(0), func(files map[string][]byte) { files["zip"] = of(size) })
		if got := s.sample(); len(got) != samples {
			t.Errorf("of %d bytes: %v", size, got)
		}
	}
}

// TestSamplesAgree holds that two stores which hold nearly the same name nearly
// the same, whatever else they hold.
func TestSamplesAgree(t *testing.T) {
	a, b := newShelf(t), newShelf(t)
	for n := range 40 {
		a.put(numbered(n))
		if n%10 > 0 {
			b.put(numbered(n))
		}
	}
	of := map[module.Version]bool{}
	first := a.sample()
	for _, m := range first {
		of[m.Version] = true
	}
	common := 0
	for _, m := range b.sample() {
		if of[m.Version] {
			common++
		}
	}
	if len(first) != probe.Samples || common == 0 {
		t.Errorf("of %d samples %d are the same", len(first), common)
	}
}
