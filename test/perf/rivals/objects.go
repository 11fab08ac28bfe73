package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// objects is an object store over HTTP on loopback: GET and PUT of names, after a
// latency.
type objects struct {
	dir     string
	latency atomic.Int64
	traffic traffic
}

// traffic counts the bytes of bodies, as the clients see them.
type traffic struct{ received, sent atomic.Int64 }

// ServeHTTP answers one request.
func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(o.latency.Load())) // the way there and back
	name := strings.Trim(r.URL.Path, "/")
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		http.Error(w, "no name of an object", http.StatusBadRequest)
		return
	}
	file := filepath.Join(o.dir, filepath.FromSlash(name))
	switch r.Method {
	case http.MethodPut:
		n, err := store(file, r.Body)
		o.traffic.sent.Add(n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet:
		http.ServeFile(&counting{w, &o.traffic.received}, r, file)
	default:
		http.Error(w, "GET and PUT", http.StatusMethodNotAllowed)
	}
}

// store puts an object under its name when it is complete.
func store(file string, from io.Reader) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".put-*")
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, from)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return n, err
}

// counting counts what is written to a response.
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write writes a part of the body.
func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// ReadFrom keeps the kernel's own copy from a file to a socket.
func (c *counting) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.ResponseWriter, r)
	c.n.Add(n)
	return n, err
}

// modules is a module proxy on loopback with the downloads of a module cache.
func modules(dir string, count *traffic) http.Handler {
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { files.ServeHTTP(&counting{w, &count.received}, r) })
}

// listen serves on loopback until stop is called.
func listen(h http.Handler) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	return fmt.Sprintf("http://%s", l.Addr()), func() { _ = s.Close() }, nil
}
