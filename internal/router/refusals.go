package router

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"k8s.io/utils/lru"
)

const (
	// refusalStands is how long a refusal of an instance ends the further attempts
	// of clients. The go command makes them at once.
	refusalStands = 30 * time.Second
	// maxRefusals, maxRefusalText and maxRefusalPath bound what is remembered: some 5 MiB.
	maxRefusals    = 1 << 10
	maxRefusalText = 4 << 10
	maxRefusalPath = 1 << 10
	// maxContentType is the length of a Content-Type that is remembered.
	maxContentType = 128
)

// refusals remembers which files instances have refused, by 403 or 451. The go
// command asks each entry of GOPROXY whatever the answer is, and HAProxy gives
// further attempts to other instances: without this, a policy that one instance
// enforces would be passed by on the way to the next one. It is safe for
// concurrent use.
type refusals struct {
	// serves reports whether an instance is to get requests; nil: it is. One that
	// fails its probes may refuse because it is broken.
	serves func(instance string) bool
	now    func() time.Time
	last   *lru.Cache // path → refusal
}

// refusal is the answer of an instance.
type refusal struct {
	instance    string
	status      int
	contentType string
	text        []byte
	at          time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, last: lru.New(maxRefusals)}
}

// record remembers an answer if it is a refusal, and returns it unread.
func (f *refusals) record(path, instance string, resp *http.Response) *http.Response {
	if instance == "" || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnavailableForLegalReasons {
		return resp
	}
	contentType := resp.Header.Get("Content-Type")
	if len(contentType) > maxContentType {
		contentType = ""
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalText))
	if err == nil && len(path) <= maxRefusalPath {
		f.last.Add(path, refusal{instance, resp.StatusCode, contentType, text, f.now()})
	}
	// What was read, and the error or the rest of it, is for the client.
	resp.Body = &resumed{Reader: io.MultiReader(bytes.NewReader(text), resp.Body), Closer: resp.Body}
	return resp
}

// resumed is a body of which the beginning was read.
type resumed struct {
	io.Reader
	io.Closer
}

// of returns the refusal of a path that stands, as an answer to r.
func (f *refusals) of(path string, r *http.Request) (*http.Response, bool) {
	value, ok := f.last.Get(path)
	if !ok {
		return nil, false
	}
	last, _ := value.(refusal)
	if f.now().Sub(last.at) >= refusalStands || f.serves != nil && !f.serves(last.instance) {
		f.last.Remove(path)
		return nil, false
	}
	header := http.Header{"Content-Length": {strconv.Itoa(len(last.text))}}
	if last.contentType != "" {
		header.Set("Content-Type", last.contentType)
	}
	return &http.Response{
		Status: strconv.Itoa(last.status) + " " + http.StatusText(last.status), StatusCode: last.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r,
		Body: io.NopCloser(bytes.NewReader(last.text)), ContentLength: int64(len(last.text)),
	}, true
}
