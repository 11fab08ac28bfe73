// Command faulty runs a gocache-proxy and spoils its answers on demand. In the
// failover table's pods it has the place of gocache-proxy, takes the same
// arguments, and passes everything through by default.
//
// It is controlled at port 18081: /set?kind=KIND, /counts, /big (waits until a large
// archive is under way), /store?kind=KIND (damages the store's files). Its
// setting survives a restart of the container, not one of the pod.
package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	control = ":18081"
	child   = "127.0.0.1:18080"
	program = "/real/gocache-proxy"
	memory  = "/tmp/faulty" // in an emptyDir
	filler  = "/var/lib/gocache-proxy/filler"
	big     = 5 << 20
	// bigRate is in bytes per second: a large body takes a moment, as on a
	// network.
	bigRate = 12 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		log.Fatal("faulty: ", err)
	}
}

// faulty is one instance.
type faulty struct {
	kind   atomic.Value // string
	store  string
	active atomic.Int64 // large bodies under way
	routed atomic.Int64 // answers to requests that came through the router
	mu     sync.Mutex
	server *http.Server // nil: it does not listen
	listen string
}

func run(ctx context.Context, args []string) error {
	f := &faulty{}
	for i, a := range args {
		switch a {
		case "--listen":
			f.listen, args[i+1] = args[i+1], child
		case "--store":
			f.store = args[i+1]
		}
	}
	text, err := os.ReadFile(memory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.kind.Store(string(text))
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the program under test
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	f.open()
	http.HandleFunc("/set", f.set)
	http.HandleFunc("/big", f.waitBig)
	http.HandleFunc("/store", f.damage)
	http.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]int64{"routed": f.routed.Load(), "big": f.active.Load()})
	})
	go func() { log.Fatal(http.ListenAndServe(control, nil)) }() //nolint:gosec // a test's own
	return cmd.Wait()
}

func (f *faulty) is(kind string) bool { return f.kind.Load() == kind }

// open listens, unless it is to refuse.
func (f *faulty) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		_ = f.server.Close()
		f.server = nil
	}
	if f.is("refuse") || f.is("dead") {
		return
	}
	var listener net.Listener
	var err error
	for range 100 { // until the port is free again
		if listener, err = net.Listen("tcp", f.listen); err == nil { //nolint:noctx // for ever
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		log.Print(err)
		return
	}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(listener) }(f.server)
}

func (f *faulty) set(w http.ResponseWriter, r *http.Request) {
	before, kind := f.kind.Load(), r.FormValue("kind")
	f.kind.Store(kind)
	if err := os.WriteFile(memory, []byte(kind), 0o600); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	listens := func(k any) bool { return k != "refuse" && k != "dead" }
	if listens(before) != listens(kind) && r.FormValue("later") == "" {
		f.open()
	}
}

// waitBig answers as soon as a large body is under way.
func (f *faulty) waitBig(w http.ResponseWriter, r *http.Request) {
	for range 2000 {
		if f.active.Load() > 0 {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	http.Error(w, "no large body was asked for", http.StatusServiceUnavailable)
}

func page(path string) bool { return path == "/readyz" || path == "/healthz" || path == "/metrics" }

// ServeHTTP passes a request to the real server, and spoils the answer.
func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, _ := f.kind.Load().(string)
	path := r.URL.Path
	switch {
	case page(path):
		kind = ""
	case strings.HasPrefix(path, "/example.com/always500/"), kind == "500":
		http.Error(w, "this always fails", http.StatusInternalServerError)
		return
	case kind == "nosumdb" && strings.HasPrefix(path, "/sumdb/"):
		http.Error(w, "the checksum database cannot be reached", http.StatusBadGateway)
		return
	}
	resp, err := f.ask(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = resp.Body.Close() }()
	body, size := io.Reader(resp.Body), resp.ContentLength
	if resp.StatusCode == http.StatusOK && (kind == "otherzip" && strings.HasSuffix(path, ".zip") || kind == "othermod" && strings.HasSuffix(path, ".mod")) {
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if kind == "othermod" {
			text = append(text, "\n// altered\n"...)
		} else if text, err = otherZip(text); err != nil {
			panic(http.ErrAbortHandler)
		}
		body, size = bytes.NewReader(text), int64(len(text))
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	w.WriteHeader(resp.StatusCode)
	if r.Header.Get("X-Request-Id") != "" {
		f.routed.Add(1)
		if size >= big {
			f.active.Add(1)
			defer f.active.Add(-1)
		}
	}
	f.send(w, r, body, size)
}

func (f *faulty) ask(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", child
	return http.DefaultTransport.RoundTrip(out)
}

// send copies a body, a large one not faster than a network would, and hangs
// in the middle if this fault is set. A body without bytes has no middle: a hang
// after it would affect the next request on the connection, which has not begun.
func (f *faulty) send(w http.ResponseWriter, r *http.Request, body io.Reader, size int64) {
	const chunk = 256 << 10
	var sent int64
	for {
		if f.is("hangbody") && !page(r.URL.Path) && size != 0 && (size < chunk || sent >= size/2) {
			if size < chunk {
				_, _ = io.CopyN(w, body, size/2)
			}
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		n, err := io.CopyN(w, body, chunk)
		sent += n
		if err != nil {
			return
		}
		if size >= big {
			time.Sleep(time.Second * chunk / bigRate)
		}
	}
}

// otherZip is a valid archive with other content.
func otherZip(archive []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, file := range in.File {
		if !strings.HasSuffix(file.Name, ".go") {
			if err := z.Copy(file); err != nil {
				return nil, err
			}
			continue
		}
		source, err := file.Open()
		if err != nil {
			return nil, err
		}
		to, err := z.Create(file.Name)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(to, source); err != nil { //nolint:gosec // our own module
			return nil, err
		}
		if _, err := io.WriteString(to, "\n// altered\n"); err != nil {
			return nil, err
		}
	}
	err = z.Close()
	return out.Bytes(), err
}

// damage does something to the files of the store.
func (f *faulty) damage(w http.ResponseWriter, r *http.Request) {
	if err := f.damageFiles(r.FormValue("kind")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (f *faulty) damageFiles(kind string) error {
	switch kind {
	case "full":
		return fill()
	case "gone":
		return persistently(func() error { return os.RemoveAll(f.store) })
	case "empty":
		_ = os.Remove(filler)
		return persistently(f.empty)
	}
	return filepath.WalkDir(f.store, func(name string, _ fs.DirEntry, err error) error {
		file := map[string]string{"invert": ".zip", "truncate": ".zip", "mod": ".mod"}[kind]
		if err != nil || file == "" || filepath.Ext(name) != file {
			return err
		}
		text, err := os.ReadFile(name) //nolint:gosec // its own store
		if err != nil {
			return err
		}
		switch kind {
		case "invert":
			text[len(text)/2] ^= 1
		case "truncate":
			text = text[:len(text)/2]
		case "mod":
			text = append(text, "\n// altered\n"...)
		}
		return os.WriteFile(name, text, 0o600) //nolint:gosec // in place, as a disk does it
	})
}

// persistently repeats what fails while the server writes into its store.
func persistently(remove func() error) (err error) {
	for range 100 {
		if err = remove(); err == nil {
			return nil
		}
	}
	return err
}

// empty removes all that the store holds, but not what marks it as one.
func (f *faulty) empty() error {
	entries, err := os.ReadDir(f.store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the server makes it when it starts
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.store, e.Name())))
		}
	}
	return err
}

// fill leaves no room on the store's volume.
func fill() error {
	file, err := os.Create(filler)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	chunk := slices.Repeat([]byte("full"), 256<<10)
	for {
		if _, err := file.Write(chunk); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return cmp.Or(err, fmt.Errorf("fill the volume: %w", err))
		}
	}
}
