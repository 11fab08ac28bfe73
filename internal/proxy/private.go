package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/redact"
)

// versionControl is the server beside this one that fetches private modules from
// version control. What it is for is asked of no upstream, whatever it answers.
type versionControl struct {
	base     *url.URL
	patterns string
	upstream *upstream
}

// newVersionControl reads its URL; nil: there is none.
func newVersionControl(address, patterns string, u *upstream) (*versionControl, error) {
	if address == "" && patterns == "" {
		return nil, nil //nolint:nilnil // all modules come from the upstream
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || patterns == "" {
		return nil, fmt.Errorf("modules %q from version control at %q: both the patterns and the URL of a server are needed, such as http://127.0.0.1:9105", patterns, redact.URL(address))
	}
	for pattern := range strings.SplitSeq(patterns, ",") {
		if _, err := path.Match(pattern, ""); err != nil { // what it is meant for would be asked of the upstream
			return nil, fmt.Errorf("modules %q: %w", pattern, err)
		}
	}
	return &versionControl{base: parsed.JoinPath("/"), patterns: patterns, upstream: u}, nil
}

// serves reports whether a module comes from version control.
func (v *versionControl) serves(modulePath string) bool {
	return v != nil && module.MatchPrefixPatterns(v.patterns, modulePath)
}

// walk asks for a file until take accepts an answer. The server asks a repository
// for each request, so only a request that did not reach it is sent again.
func (v *versionControl) walk(ctx context.Context, name string, take func(*http.Response) error) error {
	for n, pause := 1, 100*time.Millisecond; ; n, pause = n+1, 3*pause {
		err := v.upstream.asker.ask(ctx, fileURL(v.base, name), nil, v.upstream.timeout, take)
		answer, answered := errors.AsType[*statusError](err)
		if answered {
			answer.versionControl = true
		}
		if _, unreached := errors.AsType[*net.OpError](err); err == nil || answered || !unreached || isFinal(err) {
			return err
		}
		if n == maxAttempts {
			return &unreachable{err}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// unreachable is the error of the server for version control, not of a repository.
type unreachable struct{ err error }

func (e *unreachable) Error() string {
	return "version control: the container of this instance that fetches does not answer: " + e.err.Error()
}
func (e *unreachable) Unwrap() error { return e.err }

// source asks where a module comes from: version control, or the upstream.
func (f *fetcher) source(ctx context.Context, t target, take func(*http.Response) error) error {
	if f.versionControl.serves(t.module.Path) {
		return f.versionControl.walk(ctx, t.name, take)
	}
	return f.upstream.walk(ctx, t.name, take)
}

// unmixed returns an error if the go.mod of a private version differs between the
// file and the archive: one of them was stored before the version was moved to
// another commit. What was seen first stays, as it does where a checksum database
// has the version.
func (f *fetcher) unmixed(t target, text []byte, zip *modcache.ZipSum) error {
	if !f.versionControl.serves(t.module.Path) {
		return nil
	}
	switch {
	case zip != nil && zip.GoMod != [len(zip.GoMod)]byte{}:
		mod, err := f.stored(t, ".mod")
		if err != nil || modcache.TextSum(mod) == zip.GoModText {
			return nil
		}
	case text != nil:
		e, err := f.store.open(t.name[:len(t.name)-len(".mod")] + ".zip")
		if err != nil {
			return nil
		}
		defer func() { _ = e.Close() }() // read only
		sum, err := modcache.NewHasher(0).Zip(&archive{ReadSeeker: io.NewSectionReader(e.file, 0, e.size), size: e.size}, t.module)
		if err != nil || sum.GoMod == [len(sum.GoMod)]byte{} || modcache.TextSum(text) == sum.GoModText {
			return nil
		}
	default:
		return nil
	}
	return &badAnswer{fmt.Errorf("%s was moved to another commit, with another go.mod than the one that this proxy has stored; tag the new commit with a new version", t.module)}
}

// stored reads another file of the same version from the store.
func (f *fetcher) stored(t target, extension string) ([]byte, error) {
	e, err := f.store.open(t.name[:len(t.name)-len(extension)] + extension)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(e, maxText))
	if err != nil || len(text) == maxText {
		return nil, errors.Join(err, os.ErrInvalid)
	}
	return text, nil
}
