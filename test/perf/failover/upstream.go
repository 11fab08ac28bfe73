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
	"strings"

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
	sums    map[module.Version]string
}

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
	return u, nil
}

func (u *upstream) write(m module.Version, content []byte) error {
	tree := filepath.Join(u.dir, "src", filepath.Base(m.Path))
	at := filepath.Join(u.dir, "proxy", m.Path, "@v")
	if err := errors.Join(os.MkdirAll(tree, 0o750), os.MkdirAll(at, 0o750)); err != nil {
		return err
	}
	goMod := []byte("module " + m.Path + "\n\ngo 1.26\n")
	source := "package " + filepath.Base(m.Path) + "\n\nconst Name = \"" + m.Path + "\"\n"
	for name, text := range map[string][]byte{"go.mod": goMod, "x.go": []byte(source), "data": content} {
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
	server := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)} //nolint:gosec // a test's own
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}
