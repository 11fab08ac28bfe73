package store_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/probe"
)

// TestSharedFileSystem holds that on a file system which other volumes use too, the
// files of the volume count against its own size.
func TestSharedFileSystem(t *testing.T) {
	const size = 1 << 20
	for name, tt := range map[string]struct {
		used, minFree int64
		percent       int
		ready         bool
	}{
		"room":          {300 << 10, 64 << 10, 30, true},
		"almost full":   {900 << 10, 64 << 10, 88, true},
		"no room":       {1000 << 10, 64 << 10, 98, false},
		"more than all": {2000 << 10, 1, 100, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "modules")
			w, err := store.New(store.Options{
				Flags: caches.Flags{Store: dir, Layout: "goproxy", Workers: 1}, Prepare: true, VolumeSize: size, MinFree: tt.minFree,
				Listen: "127.0.0.1:0", Clock: time.Now, Stderr: io.Discard,
			})
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "list"), []byte(strings.Repeat("x", int(tt.used))), 0o600))
			ended := make(chan error, 1)
			go func() { ended <- w.Run(t.Context()) }()
			t.Cleanup(func() {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
			server := httptest.NewServer(w.Handler())
			defer server.Close()
			var percent, status int
			for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
				percent, _ = probe.Target{Agent: server.URL}.Disk(t.Context(), 95)
				resp, err := http.Get(server.URL + probe.ReadyPath) //nolint:noctx // a test's own
				must(t, err)
				_ = resp.Body.Close()
				if status = resp.StatusCode; percent >= tt.percent && percent <= tt.percent+3 && (status == http.StatusOK) == tt.ready {
					return
				}
			}
			t.Errorf("%d %% used and %d, want %d %% and ready: %v", percent, status, tt.percent, tt.ready)
		})
	}
}
