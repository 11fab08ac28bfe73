package store_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/athens"
	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/loopback"
)

// program is Athens itself: make test-athens builds it from its module.
var program = flag.String("athens", "", "program of github.com/gomods/athens that takes the place of the stand-in")

// beside is a server like Athens, and the agent beside its store.
type beside struct {
	*testing.T
	server *athens.Server // nil: Athens itself runs
	url    string
	agent  probe.Target
	dir    string // of the volume
}

func besideAthens(t *testing.T, change ...func(*store.Options)) *beside {
	t.Helper()
	tree := cachetree.New(t)
	b := &beside{T: t, dir: t.TempDir()}
	root := filepath.Join(b.dir, "modules")
	if _, err := athens.New(root, tree.Proxy); err == nil {
		t.Fatal("it starts without a root")
	}
	o := store.Options{
		Flags:  caches.Flags{Store: root, Layout: "athens", GoSum: []string{tree.GoSum()}, Workers: 1},
		Listen: loopback.Address(t), TokenFile: token(t), Prepare: true, Clock: time.Now, Stderr: io.Discard,
	}
	address := loopback.Address(t)
	if *program == "" {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.server.ServeHTTP(w, r) }))
		t.Cleanup(server.Close)
		address = server.Listener.Addr().String()
	}
	for _, f := range change {
		f(&o)
	}
	b.url = "http://" + address
	o.Server = b.url + "/healthz"
	w, err := store.New(o)
	must(t, err)
	// The agent has made the root.
	if *program == "" {
		b.server, err = athens.New(root, tree.Proxy)
		must(t, err)
	} else {
		run(t, address, root, tree.Proxy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-ended) })
	b.agent = probe.Target{Base: b.url, Agent: "http://" + o.Listen, Token: secret}
	eventually(t, "an agent that is ready", func() bool { return b.agent.Ready(t.Context(), probe.AgentPage).Outcome == probe.Passed })
	return b
}

// run starts Athens with the settings that its instances get from the operator.
func run(t *testing.T, address, root, upstream string) {
	t.Helper()
	home := t.TempDir()
	var log bytes.Buffer
	cmd := exec.Command(*program) //nolint:gosec,noctx // named by who runs the test; it is ended below
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "HOME="+home, "ATHENS_STORAGE_TYPE=disk", "ATHENS_DISK_STORAGE_ROOT="+root, "ATHENS_NETWORK_MODE=fallback",
		"ATHENS_DOWNLOAD_MODE=sync", "ATHENS_PORT="+address, "ATHENS_GO_BINARY_ENV_VARS=GOPROXY=file://"+filepath.ToSlash(upstream)+";GONOPROXY=none;GONOSUMDB=*;GOFLAGS=-modcacherw")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Athens:\n%s", log.String())
		}
	})
	eventually(t, "Athens to answer", func() bool {
		resp, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (b *beside) fetch(m module.Version) {
	b.Helper()
	_, err := (&goproxy.Client{Base: b.url}).Sums(b.Context(), m)
	must(b.T, err)
	// The server answers before it has stored all: the .info comes last, and
	// without it the version counts as one that is being stored.
	eventually(b.T, "the .info of the version", func() bool {
		_, err := os.Stat(filepath.Join(b.dir, "modules", m.Path, m.Version, m.Version+".info"))
		return err == nil
	})
}

// verdict is that of a check that began after now.
func (b *beside) verdict() integrity.Verdict {
	b.Helper()
	asked := time.Now()
	must(b.T, b.agent.CheckStore(b.Context(), false))
	var v integrity.Verdict
	eventually(b.T, "verdict", func() bool {
		r, err := b.agent.Store(b.Context())
		if err != nil || r.Verdict == nil || time.Now().Add(-r.Began).Before(asked) {
			return false
		}
		v = *r.Verdict
		return true
	})
	return v
}

// trusts holds that the server reports itself ready all the while.
func (b *beside) trusts() {
	b.Helper()
	if r := b.agent.Ready(b.Context(), probe.OwnPage); r.Outcome != probe.Passed {
		b.Errorf("the server reports the fault itself: %+v", r)
	}
}

// TestBesideAthens holds that what such a server keeps to itself is found by
// the agent beside it.
func TestBesideAthens(t *testing.T) {
	source := func(b *beside) string {
		return filepath.Join(b.dir, "modules", cachetree.Lib.Path, cachetree.Lib.Version, "source.zip")
	}
	for name, tt := range map[string]struct {
		spoil   func(b *beside)
		verdict integrity.Outcome
		class   integrity.Class
		unready string
	}{
		"nothing": {func(*beside) {}, integrity.Intact, "", ""},
		"a cut archive": {func(b *beside) {
			must(b.T, os.Truncate(source(b), 100))
		}, integrity.OutcomeCorrupt, integrity.Truncated, ""},
		"a flipped byte": {func(b *beside) {
			content, err := os.ReadFile(source(b))
			must(b.T, err)
			content[len(content)/3] ^= 1
			must(b.T, os.WriteFile(source(b), content, 0o600))
		}, integrity.OutcomeCorrupt, integrity.Corrupt, ""},
		"an altered go.mod": {func(b *beside) {
			must(b.T, os.WriteFile(filepath.Join(filepath.Dir(source(b)), "go.mod"), []byte("module evil\n"), 0o600))
		}, integrity.OutcomeCorrupt, integrity.Corrupt, ""},
		"a full disk": {func(b *beside) {
			must(b.T, os.RemoveAll(filepath.Dir(source(b))))
			b.server.Room.Store(200)
			if _, err := (&goproxy.Client{Base: b.url}).Sums(b.Context(), cachetree.Lib); err == nil {
				b.Error("the disk was not full")
			}
			if info, err := os.Stat(source(b)); err != nil || info.Size() == 0 {
				b.Errorf("there is no cut archive: %v", err)
			}
			b.server.Room.Store(-1)
			// Until now it may be one that is being stored.
			for _, name := range []string{"go.mod", "source.zip"} {
				old := time.Now().Add(-time.Hour)
				must(b.T, os.Chtimes(filepath.Join(filepath.Dir(source(b)), name), old, old))
			}
		}, integrity.OutcomeCorrupt, integrity.Truncated, ""},
		"the root is gone": {func(b *beside) {
			must(b.T, os.RemoveAll(filepath.Join(b.dir, "modules")))
		}, integrity.Inconclusive, "", "is gone"},
		"the volume is not mounted": {func(b *beside) {
			must(b.T, os.Rename(b.dir, b.dir+"-away"))
			b.Cleanup(func() { _ = os.Rename(b.dir+"-away", b.dir) })
			// A request makes the root again, on what lies under the mount point.
			_, _ = (&goproxy.Client{Base: b.url}).Info(b.Context(), cachetree.Lib)
			if _, err := os.Stat(source(b)); err != nil {
				b.Errorf("the server noticed: %v", err)
			}
		}, integrity.Intact, "", "not mounted"},
	} {
		if name == "a full disk" && *program != "" {
			continue // only the stand-in has a disk that can be filled
		}
		t.Run(name, func(t *testing.T) {
			b := besideAthens(t)
			b.fetch(cachetree.Lib)
			tt.spoil(b)
			b.trusts()
			v := b.verdict()
			if v.Verdict != tt.verdict || tt.class != "" && v.Findings[tt.class] == 0 {
				t.Errorf("verdict %+v, want %s with %s", v, tt.verdict, tt.class)
			}
			eventually(t, "readiness that says "+tt.unready, func() bool {
				r := b.agent.Ready(t.Context(), probe.AgentPage)
				return (r.Outcome == probe.Passed) == (tt.unready == "") && strings.Contains(readyPage(t, b.agent.Agent), tt.unready)
			})
		})
	}
}
