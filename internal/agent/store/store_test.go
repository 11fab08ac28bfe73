package store_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func TestWatch(t *testing.T) {
	tree := cachetree.New(t)
	w := store.New(store.Options{
		Flags: caches.Flags{Store: tree.Proxy, Layout: "goproxy", Workers: 1},
		State: filepath.Join(t.TempDir(), "seen.zst"), Clock: time.Now, Stderr: io.Discard,
	})
	get := func(path string) string {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Body.String()
	}
	if v := w.Check(context.Background()); v.Verdict != integrity.Intact || v.Counts.Raw != 0 {
		t.Fatalf("%+v", v)
	}
	if v := w.Check(context.Background()); v.Verdict != integrity.Intact || v.Counts.Raw != 3 {
		t.Fatalf("the second check is incremental: %+v", v)
	}
	other, err := cachetree.Zip(cachetree.Lib, map[string]string{"x.go": "package lib\n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a conviction is not remembered as sound
		if v := w.Check(context.Background()); v.Findings[integrity.ChecksumMismatch] != 1 {
			t.Fatalf("%+v", v)
		}
	}
	var v integrity.Verdict
	if err := json.Unmarshal([]byte(get("/verdict")), &v); err != nil || v.Verdict != integrity.Condemned {
		t.Errorf("verdict %+v, %v", v, err)
	}
	metrics := get("/metrics")
	for _, want := range []string{`gocache_store_verdict{verdict="Corrupt"} 1`, `gocache_store_verdict{verdict="Intact"} 0`, `gocache_store_findings{class="ChecksumMismatch"} 1`, "gocache_store_used_bytes "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
}
