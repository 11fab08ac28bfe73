package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gocache.dev/operator/internal/domain/buildcache"
)

// request is what the go command asks of its GOCACHEPROG child.
type request struct {
	ID       int64
	Command  string
	ActionID []byte
	OutputID []byte
	BodySize int64
}

// response answers a request.
type response struct {
	ID            int64
	Err           string   `json:",omitempty"`
	KnownCommands []string `json:",omitempty"`
	Miss          bool     `json:",omitempty"`
	OutputID      []byte   `json:",omitempty"`
	Size          int64    `json:",omitempty"`
	DiskPath      string   `json:",omitempty"`
}

// uploads is how many bodies are sent at once.
const uploads = 16

// remote is a build cache in an object store: an object for each action, the hex
// ID of its output, a line end, and the output. An entry takes one request, where
// usual ones take two, and nothing waits for what is sent until the end.
type remote struct {
	url, dir string
	client   *http.Client

	out    sync.Mutex
	encode *json.Encoder

	pending sync.WaitGroup
	slots   chan struct{}
	failed  sync.Once
	err     error
}

// serveCache answers a go command until it closes.
func serveCache(ctx context.Context, in io.Reader, out io.Writer, url, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r := &remote{url: url, dir: dir, encode: json.NewEncoder(out), slots: make(chan struct{}, uploads)}
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * uploads}}
	if err := r.send(response{KnownCommands: []string{"get", "put", "close"}}); err != nil {
		return err
	}
	for d := json.NewDecoder(in); ; {
		var q request
		if err := d.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var body []byte
		if q.Command == "put" && q.BodySize > 0 {
			if err := d.Decode(&body); err != nil {
				return err
			}
		}
		if q.Command == "close" {
			r.pending.Wait()
			return errors.Join(r.err, r.send(response{ID: q.ID}))
		}
		r.pending.Go(func() { r.answer(ctx, q, body) })
	}
}

func (r *remote) send(a response) error {
	r.out.Lock()
	defer r.out.Unlock()
	return r.encode.Encode(a)
}

func (r *remote) answer(ctx context.Context, q request, body []byte) {
	a := response{Err: "unknown command " + q.Command}
	var err error
	switch q.Command {
	case "get":
		a, err = r.get(ctx, q)
	case "put":
		a, err = r.place(q.OutputID, body)
	}
	if err != nil {
		a = response{Err: err.Error()}
	}
	a.ID = q.ID
	if err := r.send(a); err != nil || q.Command != "put" {
		return
	}
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	if err := r.put(ctx, q, body); err != nil {
		r.failed.Do(func() { r.err = err })
	}
}

func (r *remote) name(action []byte) string { return r.url + "/" + hex.EncodeToString(action) }

func (r *remote) get(ctx context.Context, q request) (response, error) {
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, r.name(q.ActionID), nil)
	if err != nil {
		return response{}, err
	}
	got, err := r.client.Do(get)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = got.Body.Close() }()
	data, err := io.ReadAll(got.Body)
	switch {
	case err != nil:
		return response{}, err
	case got.StatusCode == http.StatusNotFound:
		return response{Miss: true}, nil
	case got.StatusCode != http.StatusOK:
		return response{}, fmt.Errorf("the object store answers %s", got.Status)
	}
	name, body, _ := bytes.Cut(data, []byte("\n"))
	output, err := hex.DecodeString(string(name))
	if err != nil {
		return response{}, err
	}
	return r.place(output, body)
}

// place makes an output a file of this go command.
func (r *remote) place(output, body []byte) (response, error) {
	file := filepath.Join(r.dir, hex.EncodeToString(output))
	if _, err := store(file, bytes.NewReader(body)); err != nil {
		return response{}, err
	}
	return response{OutputID: output, Size: int64(len(body)), DiskPath: file}, nil
}

// object is how an entry is stored.
func object(output, body []byte) []byte {
	return append([]byte(hex.EncodeToString(output)+"\n"), body...)
}

// fill gives an object store in a directory the entries of a build cache, as
// earlier go commands with this child would have. Executables, which the go command
// stores as directories, are left out: the job links its own.
func fill(store, cache string) (entries int, bytes int64, err error) {
	err = filepath.WalkDir(cache, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(name, "-a") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		e, err := buildcache.ParseEntry(data)
		if err != nil {
			return err
		}
		output := filepath.Join(cache, filepath.FromSlash(e.Output.OutputPath()))
		if info, err := os.Lstat(output); err != nil || info.IsDir() {
			return err
		}
		body, err := os.ReadFile(output)
		if err != nil {
			return err
		}
		content := object(e.Output[:], body)
		entries, bytes = entries+1, bytes+int64(len(content))
		return os.WriteFile(filepath.Join(store, e.Action.String()), content, 0o600)
	})
	return entries, bytes, err
}

func (r *remote) put(ctx context.Context, q request, body []byte) error {
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, r.name(q.ActionID), bytes.NewReader(object(q.OutputID, body)))
	if err != nil {
		return err
	}
	answer, err := r.client.Do(put)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the object store answers %s", answer.Status)
	}
	return nil
}
