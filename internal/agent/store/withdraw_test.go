package store_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/cachetree"
)

// TestWithdrawBesideAthens holds that a version which such a server would go on
// serving damaged is withdrawn as a whole, and that the server fetches it again.
func TestWithdrawBesideAthens(t *testing.T) {
	source := func(b *beside) string {
		return filepath.Join(b.dir, "modules", cachetree.Lib.Path, cachetree.Lib.Version, "source.zip")
	}
	for name, spoil := range map[string]func(b *beside){
		"a cut archive": func(b *beside) { must(b.T, os.Truncate(source(b), 100)) },
		"a flipped byte": func(b *beside) {
			content, err := os.ReadFile(source(b))
			must(b.T, err)
			content[len(content)/3] ^= 1
			must(b.T, os.WriteFile(source(b), content, 0o600))
		},
		"an altered go.mod": func(b *beside) {
			must(b.T, os.WriteFile(filepath.Join(filepath.Dir(source(b)), "go.mod"), []byte("module evil\n"), 0o600))
		},
		"content that contradicts trust": func(b *beside) {
			forged, err := cachetree.Zip(cachetree.Lib, map[string]string{"x.go": "package lib // evil\n"})
			must(b.T, err)
			must(b.T, os.WriteFile(source(b), forged, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := besideAthens(t, func(o *store.Options) { o.Withdraw = true })
			right, err := (&goproxy.Client{Base: b.url}).Sums(t.Context(), cachetree.Lib)
			must(t, err)
			spoil(b)
			if v := b.verdict(); v.Verdict != integrity.Intact || v.Withdrawn == 0 {
				t.Errorf("%s, withdrew %d: %+v", v.Verdict, v.Withdrawn, v.Examples)
			}
			again, err := (&goproxy.Client{Base: b.url}).Sums(t.Context(), cachetree.Lib)
			if err != nil || again != right {
				t.Errorf("the server serves %+v, %v, and served %+v", again, err, right)
			}
			b.fetch(cachetree.Lib) // until all of it is stored
			if v := b.verdict(); v.Verdict != integrity.Intact || v.Withdrawn != 0 || v.Counts.Zips != 1 {
				t.Errorf("fetched anew: %s, %+v: %+v", v.Verdict, v.Counts, v.Examples)
			}
		})
	}
}

// TestWithdrawalsAreReported holds that a contradiction to trust data is named
// in the report, the log and the metrics although it is gone, and that the
// server is no longer compared with the withdrawn content.
func TestWithdrawalsAreReported(t *testing.T) {
	tree := cachetree.New(t)
	var log bytes.Buffer
	o := store.Options{
		Flags: caches.Flags{Store: tree.Proxy, Layout: "goproxy", GoSum: []string{tree.GoSum()}, Workers: 1},
		State: filepath.Join(t.TempDir(), "seen.zst"), Withdraw: true, Clock: time.Now, Stderr: &log,
	}
	forged, err := cachetree.Zip(cachetree.Lib, map[string]string{"x.go": "package lib // evil\n"})
	must(t, err)
	file := filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip")
	right, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, forged, 0o600))
	left := filepath.Join(tree.Proxy, ".gocache-withdrawn-X") // by an agent that died
	must(t, os.MkdirAll(filepath.Join(left, "v1.0.0"), 0o700))
	w, err := store.New(o)
	must(t, err)
	v := w.Check(t.Context())
	if v.Verdict != integrity.Intact || v.Withdrawn == 0 || v.WithdrawnExamples[0].Class != integrity.ChecksumMismatch {
		t.Fatalf("%+v", v)
	}
	if _, err := os.Lstat(left); err == nil {
		t.Errorf("%s is still there", left)
	}
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	sampled := func() (all []probe.Sampled) {
		r, err := probe.Target{Agent: server.URL}.Store(t.Context())
		if err != nil || r.Verdict.Withdrawn != v.Withdrawn && r.Verdict.Withdrawn != 0 {
			t.Errorf("report %+v, %v", r, err)
		}
		for _, s := range r.Sample {
			if s.Version == cachetree.Lib {
				all = append(all, s)
			}
		}
		return all
	}
	if s := sampled(); len(s) != 0 {
		t.Errorf("withdrawn, and still in the sample: %+v", s)
	}
	if !strings.Contains(log.String(), "withdrew") || !strings.Contains(log.String(), "ChecksumMismatch") {
		t.Errorf("logged %q", log.String())
	}
	page := httptest.NewRecorder()
	w.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(page.Body.String(), `gocache_store_withdrawn_total{class="ChecksumMismatch"} 1`) {
		t.Errorf("metrics:\n%s", page.Body)
	}
	must(t, os.WriteFile(file, right, 0o600)) // fetched again
	if v := w.Check(t.Context()); v.Verdict != integrity.Intact || v.Withdrawn != 0 {
		t.Errorf("fetched anew: %+v", v)
	}
	if s := sampled(); len(s) != 1 {
		t.Errorf("fetched anew, and not sampled: %+v", s)
	}
}
