package goproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"gocache.dev/operator/internal/domain/redact"
)

// Limits of a Client whose own are zero. The archive limits are those of the
// go command (golang.org/x/mod/zip.MaxZipFile).
const (
	DefaultMaxText = 16 << 20
	DefaultMaxZip  = 500 << 20
)

// cacheOnlyHeader is understood by goproxy/goproxy servers: answer from the
// store or 404, ask no upstream.
const cacheOnlyHeader = "Disable-Module-Fetch"

// Client asks one GOPROXY server. The zero value with a Base is usable; it is
// safe for concurrent use as long as its fields stay unchanged. Time is
// limited by the contexts of the calls alone.
type Client struct {
	// Base is the server's URL, with or without a slash at its end.
	Base string
	// HTTP sends the requests; nil means http.DefaultClient.
	HTTP *http.Client
	// MaxText limits list, info and mod answers, in bytes.
	MaxText int64
	// MaxZip limits an archive, in bytes: packed, and once more unpacked.
	MaxZip int64
	// Header is added to every request.
	Header http.Header
	// CacheOnly asks the server to answer from its store alone. Servers that
	// do not support the request fetch as usual.
	CacheOnly bool
	// Own means that the server is gocache-proxy: the errors then contain why its
	// upstream gave no answer (see [UpstreamCause]).
	Own bool
}

// Info is a server's information about a version.
type Info struct {
	Version string
	Time    time.Time
}

// Versions lists the versions of a module that a server lists, in semver order.
func (c *Client) Versions(ctx context.Context, path string) ([]string, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return nil, argumentError(err)
	}
	u, body, err := c.text(ctx, escaped, "@v", "list")
	if err != nil {
		return nil, err
	}
	var versions []string
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if !semver.IsValid(fields[0]) {
			return nil, malformed(u, "the list holds what is no version")
		}
		versions = append(versions, fields[0])
	}
	semver.Sort(versions)
	return versions, nil
}

// Latest asks which version is the newest. Servers may answer ErrNotFound:
// the endpoint is optional.
func (c *Client) Latest(ctx context.Context, path string) (Info, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return Info{}, argumentError(err)
	}
	u, body, err := c.text(ctx, escaped, "@latest")
	if err != nil {
		return Info{}, err
	}
	return parseInfo(u, body)
}

// Info asks for the Info of exactly that version.
func (c *Client) Info(ctx context.Context, m module.Version) (Info, error) {
	u, body, err := c.file(ctx, m, ".info")
	if err != nil {
		return Info{}, err
	}
	info, err := parseInfo(u, body)
	if err == nil && info.Version != m.Version {
		return Info{}, malformed(u, "it is of another version")
	}
	return info, err
}

// Mod returns the go.mod file, of which it is certain only that it is one of
// this module. Old modules whose go.mod names another path exist; they make
// poor reference modules and are refused here.
func (c *Client) Mod(ctx context.Context, m module.Version) ([]byte, error) {
	u, body, err := c.file(ctx, m, ".mod")
	if err != nil {
		return nil, err
	}
	if path := modfile.ModulePath(body); path != m.Path {
		return nil, malformed(u, "the go.mod file is of another module")
	}
	return body, nil
}

// Zip copies the archive to w and returns its size. A body shorter than the
// server announced is ErrUnreachable, one above MaxZip is ErrMalformed; in
// both cases w has received a part.
func (c *Client) Zip(ctx context.Context, m module.Version, w io.Writer) (int64, error) {
	elements, err := versionElements(m, ".zip")
	if err != nil {
		return 0, err
	}
	u, resp, err := c.open(ctx, elements...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing is left to report after the copy's own error
	return copyBody(u, w, resp.Body, c.maxZip())
}

// SumDBSupported reports whether the server proxies the named checksum
// database. ErrNotFound is the answer "no"; every other error is one.
func (c *Client) SumDBSupported(ctx context.Context, name string) (bool, error) {
	if name == "" {
		return false, argumentError(errors.New("a checksum database needs a name"))
	}
	_, _, err := c.text(ctx, "sumdb", name, "supported")
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// SumDBLatest returns the newest signed tree of the named checksum database
// that the server has, and the header of its answer. The tree is not examined.
func (c *Client) SumDBLatest(ctx context.Context, name string) ([]byte, http.Header, error) {
	if name == "" {
		return nil, nil, argumentError(errors.New("a checksum database needs a name"))
	}
	_, text, header, err := c.page(ctx, "sumdb", name, "latest")
	return text, header, err
}

func (c *Client) file(ctx context.Context, m module.Version, ext string) (*url.URL, []byte, error) {
	elements, err := versionElements(m, ext)
	if err != nil {
		return nil, nil, err
	}
	return c.text(ctx, elements...)
}

// text reads a small answer whole.
func (c *Client) text(ctx context.Context, elements ...string) (*url.URL, []byte, error) {
	u, text, _, err := c.page(ctx, elements...)
	return u, text, err
}

// page reads a small answer whole, with its header.
func (c *Client) page(ctx context.Context, elements ...string) (*url.URL, []byte, http.Header, error) {
	u, resp, err := c.open(ctx, elements...)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // the read below has seen every error that matters
	limit := c.MaxText
	if limit == 0 {
		limit = DefaultMaxText
	}
	var buf bytes.Buffer
	if _, err := copyBody(u, &buf, resp.Body, limit); err != nil {
		return nil, nil, nil, err
	}
	return u, buf.Bytes(), resp.Header, nil
}

// open sends a request and returns a 200 answer, whose body is to be closed.
func (c *Client) open(ctx context.Context, elements ...string) (*url.URL, *http.Response, error) {
	base, err := url.Parse(c.Base)
	if err != nil {
		return nil, nil, argumentError(errors.New("the proxy's address is not a URL"))
	}
	u := base.JoinPath(elements...)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, nil, argumentError(errors.New("the proxy's address cannot be requested")) // the error quotes it
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if c.CacheOnly {
		req.Header.Set(cacheOnlyHeader, "true")
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, transportError(u, 0, err)
	}
	if resp.StatusCode == http.StatusOK {
		return u, resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // the status already decided
	kind := ErrServer
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		kind = ErrNotFound
	case resp.StatusCode/100 == 3:
		kind = ErrRedirected
	}
	failed := &Error{Kind: kind, URL: redact.Of(u), Status: resp.StatusCode}
	if c.Own && errors.Is(kind, ErrServer) {
		failed.Detail = UpstreamCause(resp.Header)
	}
	return nil, nil, failed
}

func (c *Client) maxZip() int64 {
	if c.MaxZip == 0 {
		return DefaultMaxZip
	}
	return c.MaxZip
}

// copyBody copies at most limit bytes and distinguishes failures of the body
// from those of the writer.
func copyBody(u *url.URL, w io.Writer, body io.Reader, limit int64) (int64, error) {
	source := &faultyReader{r: body}
	n, err := io.Copy(w, io.LimitReader(source, limit+1))
	switch {
	case source.err != nil:
		return n, transportError(u, http.StatusOK, fmt.Errorf("after %d bytes: %w", n, source.err))
	case err != nil:
		return n, fmt.Errorf("store the answer of %s: %w", redact.Of(u), err)
	case n > limit:
		return n, malformed(u, "the body exceeds the limit of %d bytes", limit)
	}
	return n, nil
}

// faultyReader remembers a read error, which io.Copy would mix up with an
// error of the writer.
type faultyReader struct {
	r   io.Reader
	err error
}

func (f *faultyReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func parseInfo(u *url.URL, body []byte) (Info, error) {
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		return Info{}, malformed(u, "the info is not the JSON that was expected")
	}
	if !semver.IsValid(info.Version) {
		return Info{}, malformed(u, "the info names no version")
	}
	return info, nil
}

func versionElements(m module.Version, ext string) ([]string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return nil, argumentError(err)
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return nil, argumentError(err)
	}
	return []string{path, "@v", version + ext}, nil
}

func argumentError(err error) error { return fmt.Errorf("%w: cannot ask: %w", ErrMalformed, err) }
