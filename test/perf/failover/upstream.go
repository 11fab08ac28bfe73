package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	crand "crypto/rand"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/zip"

	"gocache.dev/operator/internal/domain/goproxy"
)

const (
	database = "sum.example.com"
	version  = "v1.0.0"
	smallOne = 8 << 10
	bigOne   = 6 << 20
)

// upstream is where the instances fetch: modules that are made here, and a
// checksum database that contains them.
type upstream struct {
	dir string
	// key is the value of GOSUMDB for clients and instances.
	key     string
	modules []module.Version // the last one is large
	// cold are modules that no store holds before a fault, slow is one that arrives
	// slowly, and incompatible is asked for by queries.
	cold               []module.Version
	slow, incompatible module.Version
	sums               map[module.Version]string
	// fault of the present row.
	fault atomic.Value // upstreamFault
}

// upstreamFault is what the upstream does wrong.
type upstreamFault string

const (
	// hangs: no request is answered.
	hangs upstreamFault = "hangs"
	// noArchives: archives are refused.
	noArchives upstreamFault = "noArchives"
	// forgets: it has no module any more.
	forgets upstreamFault = "forgets"
)

const (
	// slowRate is in bytes per second, and slowOne how many there are: longer than
	// any server may wait for the beginning of an answer or be silent in it.
	slowRate = 310_000
	slowOne  = 12 << 20
	// coldModules is how many there are.
	coldModules = 40
)

func newUpstream(dir string) (*upstream, error) {
	u := &upstream{dir: dir, sums: map[module.Version]string{}}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // content, no secret
	for i, size := range []int{smallOne, smallOne, smallOne, bigOne} {
		m := module.Version{Path: fmt.Sprintf("example.com/dep%d", i), Version: version}
		content := make([]byte, size) // it does not compress
		for n := range content {
			content[n] = byte(r.Uint32())
		}
		if err := u.write(m, content); err != nil {
			return nil, err
		}
		u.modules = append(u.modules, m)
	}
	u.fault.Store(upstreamFault(""))
	return u, u.writeUnstored(r)
}

// writeUnstored makes the modules that are not stored at first.
func (u *upstream) writeUnstored(r *rand.Rand) error {
	fresh := func(path, v string, size int) (module.Version, error) {
		content := make([]byte, size)
		for n := range content {
			content[n] = byte(r.Uint32())
		}
		m := module.Version{Path: path, Version: v}
		return m, u.write(m, content)
	}
	for i := range coldModules {
		m, err := fresh(fmt.Sprintf("example.com/cold%d", i), version, smallOne)
		if err != nil {
			return err
		}
		u.cold = append(u.cold, m)
	}
	var err error
	if u.slow, err = fresh("example.com/slow", version, slowOne); err != nil {
		return err
	}
	if u.incompatible, err = fresh("example.com/inc", "v2.0.0+incompatible", smallOne); err != nil {
		return err
	}
	at := filepath.Join(u.dir, "proxy", u.incompatible.Path, "@v")
	// What proxies that use the go command answer to queries.
	answer := []byte(`{"Version":"` + u.incompatible.Version + `","Time":"2024-01-02T03:04:05Z"}`)
	return errors.Join(os.WriteFile(filepath.Join(at, "v2.0.0.info"), answer, 0o600), os.WriteFile(filepath.Join(at, "v2.info"), answer, 0o600),
		os.WriteFile(filepath.Join(at, "v2.0.info"), answer, 0o600), os.WriteFile(filepath.Join(at, "..", "@latest"), answer, 0o600))
}

// serveFaulty answers with the fault of the present row.
func (u *upstream) serveFaulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch fault, _ := u.fault.Load().(upstreamFault); {
		case fault == hangs:
			<-r.Context().Done()
			return
		case fault == noArchives && strings.HasSuffix(r.URL.Path, ".zip"):
			http.Error(w, "no archives today", http.StatusInternalServerError)
			return
		case fault == forgets && !strings.HasPrefix(r.URL.Path, "/sumdb/"):
			http.NotFound(w, r)
			return
		case strings.HasPrefix(r.URL.Path, "/"+u.slow.Path+"/") && strings.HasSuffix(r.URL.Path, ".zip"):
			w = &slowWriter{ResponseWriter: w, ctx: r.Context()}
		}
		next.ServeHTTP(w, r)
	})
}

// slowWriter sends no faster than slowRate.
type slowWriter struct {
	http.ResponseWriter
	ctx context.Context //nolint:containedctx // that of the request that it answers
}

// Write implements io.Writer.
func (s *slowWriter) Write(p []byte) (n int, err error) {
	const each = 4 // times a second
	for part := range slices.Chunk(p, slowRate/each) {
		written, err := s.ResponseWriter.Write(part)
		n += written
		if err != nil {
			return n, err
		}
		_ = http.NewResponseController(s.ResponseWriter).Flush() // it always can
		select {
		case <-s.ctx.Done():
			return n, s.ctx.Err()
		case <-time.After(time.Duration(len(part)) * time.Second / slowRate):
		}
	}
	return n, nil
}

func (u *upstream) write(m module.Version, content []byte) error {
	tree := filepath.Join(u.dir, "src", filepath.Base(m.Path))
	at := filepath.Join(u.dir, "proxy", m.Path, "@v")
	if err := errors.Join(os.MkdirAll(tree, 0o750), os.MkdirAll(at, 0o750)); err != nil {
		return err
	}
	goMod := []byte("module " + m.Path + "\n\ngo 1.26\n")
	source := "package " + filepath.Base(m.Path) + "\n\nconst Name = \"" + m.Path + "\"\n"
	inTree := map[string][]byte{"go.mod": goMod, "x.go": []byte(source), "data": content}
	if strings.HasSuffix(m.Version, "+incompatible") {
		goMod = []byte("module " + m.Path + "\n")
		delete(inTree, "go.mod")
	}
	for name, text := range inTree {
		if err := os.WriteFile(filepath.Join(tree, name), text, 0o600); err != nil {
			return err
		}
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, m, tree); err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"list": []byte(m.Version + "\n"), m.Version + ".mod": goMod, m.Version + ".zip": archive.Bytes(),
		m.Version + ".info": []byte(`{"Version":"` + m.Version + `","Time":"2024-01-02T03:04:05Z"}`),
	} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o600); err != nil {
			return err
		}
	}
	zipSum, err := goproxy.SumZip(bytes.NewReader(archive.Bytes()), int64(archive.Len()), 1<<30)
	if err != nil {
		return err
	}
	modSum, err := goproxy.SumMod(goMod)
	if err != nil {
		return err
	}
	u.sums[m] = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zipSum, m.Path, m.Version, modSum)
	return nil
}

// goSum of all modules.
func (u *upstream) goSum() string {
	var all strings.Builder
	for _, m := range u.modules {
		all.WriteString(u.sums[m])
	}
	return all.String()
}

// sum is a field of a module's line: 0 of the archive, 1 of go.mod.
func (u *upstream) sum(m module.Version, line int) string {
	return strings.Fields(strings.Split(u.sums[m], "\n")[line])[2]
}

// serve answers on an address until ctx ends.
func (u *upstream) serve(ctx context.Context, address string) error {
	signer, verifier, err := note.GenerateKey(crand.Reader, database)
	if err != nil {
		return fmt.Errorf("make the checksum database: %w", err)
	}
	u.key = verifier
	known := sumdb.NewTestServer(signer, func(path, v string) ([]byte, error) {
		text, ok := u.sums[module.Version{Path: path, Version: v}]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	})
	mux := http.NewServeMux()
	prefix := "/sumdb/" + database
	mux.HandleFunc(prefix+"/supported", func(http.ResponseWriter, *http.Request) {})
	mux.Handle(prefix+"/", http.StripPrefix(prefix, sumdb.NewServer(known)))
	mux.Handle("/", http.FileServer(http.Dir(filepath.Join(u.dir, "proxy"))))
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve the modules: %w", err)
	}
	server := &http.Server{Handler: u.serveFaulty(mux), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)} //nolint:gosec // a test's own
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}
