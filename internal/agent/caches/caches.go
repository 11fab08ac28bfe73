package caches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/domain/untrusted"
)

// Flags name what to check and what to trust.
type Flags struct {
	ModCache   string
	BuildCache string
	Store      string
	Layout     string
	Volume     string // root of the volume, if only the operator writes to it
	Sealed     string // digest of the manifest that the last writer of the volume reported
	// NeverSealed: no writer has reported one.
	NeverSealed bool
	Live        bool // a writer is to run on the volume before it is snapshotted

	GoSum          []string
	OptionalGoSum  []string // go.sum files that may be absent
	SumDB          []string // GOSUMDB syntax: a verifier key, and a URL if it is not the name
	FullCoverage   bool     // content that no trust data name makes the verdict Inconclusive
	SumDBLatest    string   // the signed tree head, from GOPATH/pkg/sumdb/<name>/latest
	SumDBOnline    bool     // ask the database for what the cache does not prove
	GoNoSumDB      string   // modules that it is not asked for
	Baseline       string   // an earlier manifest
	BaselineDigest string

	// Reference is the root of a volume that was verified earlier to have
	// ReferenceDigest: what it holds is what the same versions must be.
	Reference       string
	ReferenceDigest string

	Workers int
	FailOn  string
}

// UsageError is a use of flags that contradict each other or lack a value.
type UsageError struct{ Reason string }

// Error is the message.
func (e *UsageError) Error() string { return e.Reason }

// Options reads what the flags name. An error that is no [UsageError] means
// that nothing can be checked here: a directory is not there, or trust data
// cannot be read.
func (f *Flags) Options(ctx context.Context, now time.Time) (integrity.Options, error) {
	o := integrity.Options{
		ModCache: f.ModCache, BuildCache: f.BuildCache, Store: f.Store, Layout: f.Layout, Volume: f.Volume, Live: f.Live, Sealed: f.Sealed, NeverSealed: f.NeverSealed, FullCoverage: f.FullCoverage, Workers: f.Workers, Now: now,
	}
	if err := f.validate(&o); err != nil {
		return o, err
	}
	if f.ModCache != "" {
		o.Snapshots = record.ReadSnapshots(filepath.Dir(filepath.Clean(f.ModCache)))
	}
	for _, dir := range []struct{ flag, path string }{{"--modcache", f.ModCache}, {"--buildcache", f.BuildCache}, {"--store", f.Store}, {"--volume", f.Volume}} {
		if err := isDir(dir.flag, dir.path, f.Volume != "" && dir.path != f.Volume); err != nil {
			return o, err
		}
	}
	return o, errors.Join(f.trust(&o), f.sumDBs(ctx, &o), f.baseline(&o), f.reference(ctx, &o, now))
}

func (f *Flags) validate(o *integrity.Options) error {
	switch f.FailOn {
	case "", "corrupt":
	case "recoverable":
		o.FailOn = integrity.Recoverable
	default:
		return &UsageError{fmt.Sprintf("--fail-on %q: must be recoverable or corrupt", f.FailOn)}
	}
	if f.ModCache == "" && f.BuildCache == "" && f.Store == "" {
		return &UsageError{"nothing to check: give --modcache, --buildcache or --store"}
	}
	if f.Sealed != "" && f.NeverSealed {
		return &UsageError{"--sealed-digest and --never-sealed: give one of them"}
	}
	if f.Sealed != "" && f.Volume == "" {
		return &UsageError{"--sealed-digest needs --volume: the manifest lies there"}
	}
	if f.Store != "" {
		if _, err := store.Parse(f.Layout); err != nil {
			return &UsageError{"--store needs --layout: " + err.Error()}
		}
		if f.ModCache != "" {
			return &UsageError{"--store and --modcache hold the same kind of thing: check them one by one"}
		}
	}
	for _, text := range f.SumDB {
		db := integrity.SumDB{Key: key(text)}
		if _, err := db.Name(); err != nil {
			return &UsageError{"--sumdb: " + err.Error() + ": a key such as name+hash+publickey is needed"}
		}
	}
	return nil
}

// isDir refuses a directory that is not there: an empty cache is intact, but a
// cache that is not mounted is not an empty one.
func isDir(flag, path string, volume bool) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if link, linkErr := os.Lstat(path); volume && linkErr == nil && link.Mode().Type() == fs.ModeSymlink {
		return nil // which the check of the volume reports
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %s: there is no such directory: is the volume mounted there?", flag, path)
	case err != nil:
		return fmt.Errorf("%s: %w", flag, err)
	case !info.IsDir():
		return fmt.Errorf("%s %s: is not a directory", flag, path)
	}
	return nil
}

func (f *Flags) trust(o *integrity.Options) error {
	if len(f.GoSum)+len(f.OptionalGoSum) == 0 {
		return nil
	}
	o.Trust = integrity.NewTrust()
	for _, name := range f.GoSum {
		if err := addGoSum(o.Trust, name); err != nil {
			return fmt.Errorf("--gosum: %w", err)
		}
	}
	for _, name := range f.OptionalGoSum {
		if err := addGoSum(o.Trust, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--gosum-if-present: %w", err)
		}
	}
	return nil
}

func addGoSum(trust *integrity.Trust, name string) error {
	f, err := os.Open(name) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	return errors.Join(trust.AddGoSum(name, f), f.Close())
}

// baseline reads an earlier manifest. One whose digest is not the expected one
// is refused: it decides what is not looked at.
func (f *Flags) baseline(o *integrity.Options) error {
	if f.Baseline == "" {
		return nil
	}
	r, closer, err := manifest.Open(f.Baseline)
	if err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	kind := manifest.Module
	if f.Store != "" {
		kind = manifest.Stored
	}
	o.Baseline, err = integrity.NewBaseline(r, kind)
	if err = errors.Join(err, closer.Close()); err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	if f.BaselineDigest != "" && r.Digest() != f.BaselineDigest {
		return fmt.Errorf("--baseline: its digest is %s, not the expected %s", r.Digest(), f.BaselineDigest)
	}
	return nil
}

// key is the first word of a GOSUMDB value.
func key(text string) string { k, _, _ := strings.Cut(text, " "); return k }

func (f *Flags) sumDBs(ctx context.Context, o *integrity.Options) error {
	for _, text := range f.SumDB {
		db := integrity.SumDB{Key: key(text)}
		name, err := db.Name()
		if err != nil {
			return err
		}
		if f.SumDBLatest != "" {
			if db.Latest, err = os.ReadFile(f.SumDBLatest); err != nil {
				return fmt.Errorf("--sumdb-latest: %w", err)
			}
		}
		if f.SumDBOnline {
			url := "https://" + name
			if _, rest, ok := strings.Cut(text, " "); ok {
				url = strings.TrimSpace(rest)
			}
			db.Private = f.GoNoSumDB
			db.Remote = func(path string) ([]byte, error) { return fetch(ctx, url+path) }
		}
		o.SumDBs = append(o.SumDBs, db)
	}
	return nil
}

const (
	fetchTimeout = 30 * time.Second
	maxFetch     = 4 << 20
)

func fetch(ctx context.Context, url string) (data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: the address cannot be requested", redact.URL(url)) // the error quotes it
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %s", redact.URL(url), untrusted.Cause(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", redact.URL(url), resp.StatusCode)
	}
	if data, err = io.ReadAll(io.LimitReader(resp.Body, maxFetch+1)); err == nil && len(data) > maxFetch {
		return nil, fmt.Errorf("GET %s: the answer is longer than %d MiB", redact.URL(url), maxFetch>>20)
	}
	return data, err
}
