package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
)

// Options are the command's flags.
type Options struct {
	ModCache       string
	BuildCache     string
	Root           string // of the volume; default: what the caches have in common
	GoSum          []string
	Workers        int
	FailOn         string
	Manifest       string // where to write the canonical manifest, compressed
	Baseline       string // an earlier manifest: checks zips by their raw bytes
	BaselineDigest string
	JSON           bool
	TerminationLog string

	Clock  func() time.Time
	Stdout io.Writer
	Stderr io.Writer
}

// UsageError says that the flags make no sense.
type UsageError struct{ Reason string }

// Error is the message.
func (e *UsageError) Error() string { return e.Reason }

// Run checks and reports. The verdict is always reported, also when nothing
// could be checked: then it is Inconclusive and says why. An error is a wrong
// use of flags or a report that could not be written.
func Run(ctx context.Context, o Options) (integrity.Verdict, error) {
	start := o.Clock()
	v, err := o.check(ctx, start)
	var usage *UsageError
	if errors.As(err, &usage) {
		return v, errors.Join(err, o.terminate(integrity.Verdict{Verdict: integrity.Inconclusive, Message: err.Error()}))
	}
	if err != nil {
		v = integrity.Verdict{Verdict: integrity.Inconclusive, Message: err.Error()}
	}
	v.DurationSeconds = o.Clock().Sub(start).Round(time.Millisecond).Seconds()
	v.Toolchain = o.toolchain()
	return v, errors.Join(o.report(v), o.terminate(v))
}

func (o *Options) check(ctx context.Context, now time.Time) (integrity.Verdict, error) {
	if o.ModCache == "" && o.BuildCache == "" {
		return integrity.Verdict{}, &UsageError{"nothing to verify: give --modcache, --buildcache or --store"}
	}
	opts := integrity.Options{ModCache: o.ModCache, BuildCache: o.BuildCache, Workers: o.Workers, Now: now}
	switch o.FailOn {
	case "", "wrong":
	case "torn":
		opts.FailOn = integrity.Torn
	default:
		return integrity.Verdict{}, &UsageError{fmt.Sprintf("--fail-on %q: must be torn or wrong", o.FailOn)}
	}
	for _, dir := range []struct{ flag, path string }{{"--modcache", o.ModCache}, {"--buildcache", o.BuildCache}} {
		if err := isDir(dir.flag, dir.path); err != nil {
			return integrity.Verdict{}, err
		}
	}
	var err error
	if opts.Trust, err = o.trust(); err != nil {
		return integrity.Verdict{}, err
	}
	if opts.Baseline, err = o.baseline(); err != nil {
		return integrity.Verdict{}, err
	}
	if o.Manifest == "" {
		return integrity.Check(ctx, opts)
	}
	return o.withManifest(ctx, opts)
}

// isDir refuses a directory that is not there: an empty cache is sound, but a
// cache that is not mounted is not an empty one.
func isDir(flag, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
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

func (o *Options) trust() (*integrity.Trust, error) {
	if len(o.GoSum) == 0 {
		return nil, nil //nolint:nilnil // no trust data is a legal state
	}
	trust := integrity.NewTrust()
	for _, name := range o.GoSum {
		if err := addGoSum(trust, name); err != nil {
			return nil, fmt.Errorf("--gosum: %w", err)
		}
	}
	return trust, nil
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
func (o *Options) baseline() (integrity.Baseline, error) {
	if o.Baseline == "" {
		return nil, nil
	}
	r, closer, err := manifest.Open(o.Baseline)
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	b, err := integrity.NewBaseline(r, manifest.Module)
	if err = errors.Join(err, closer.Close()); err != nil {
		return nil, fmt.Errorf("--baseline: %w", err)
	}
	if o.BaselineDigest != "" && r.Digest() != o.BaselineDigest {
		return nil, fmt.Errorf("--baseline: its digest is %s, not the expected %s", r.Digest(), o.BaselineDigest)
	}
	return b, nil
}

// withManifest checks and writes the manifest beside, complete or not at all.
func (o *Options) withManifest(ctx context.Context, opts integrity.Options) (integrity.Verdict, error) {
	var v integrity.Verdict
	err := record.WriteManifest(o.Manifest, func(w io.Writer) error {
		opts.Manifest = w
		var err error
		v, err = integrity.Check(ctx, opts)
		return err
	})
	return v, err
}

func (o *Options) toolchain() *integrity.Toolchain {
	root := o.Root
	if root == "" {
		root = commonParent(o.ModCache, o.BuildCache)
	}
	t, err := record.ReadToolchain(root)
	if err != nil {
		return nil // the record is for people; its absence proves nothing
	}
	return t
}

// commonParent is the directory that holds both caches, if it does.
func commonParent(a, b string) string {
	switch {
	case a == "":
		return filepath.Dir(filepath.Clean(b))
	case b == "" || filepath.Dir(filepath.Clean(a)) == filepath.Dir(filepath.Clean(b)):
		return filepath.Dir(filepath.Clean(a))
	}
	return ""
}

func (o *Options) report(v integrity.Verdict) error {
	if o.JSON {
		return json.NewEncoder(o.Stdout).Encode(v)
	}
	return Print(o.Stdout, v)
}

func (o *Options) terminate(v integrity.Verdict) error {
	if o.TerminationLog == "" {
		return nil
	}
	return os.WriteFile(o.TerminationLog, v.Fit(integrity.TerminationLimit), 0o644) //nolint:gosec // the kubelet reads it
}

// Print writes a verdict for a person.
func Print(w io.Writer, v integrity.Verdict) error {
	rate := ""
	if v.DurationSeconds > 0 {
		rate = fmt.Sprintf(" (%.0f MB/s)", float64(v.Bytes)/1e6/v.DurationSeconds)
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", v.Verdict, v.Message)
	for _, e := range v.Examples {
		_, printErr := fmt.Fprintf(w, "  %-7s %-16s %s: %s\n", e.Severity, e.Class, e.Path, e.Detail)
		err = errors.Join(err, printErr)
	}
	_, printErr := fmt.Fprintf(w, "%d module versions, %d zips, %d extracted, %d build entries; %.1f MB in %.2f s%s\n%s\n",
		v.Counts.Modules, v.Counts.Zips, v.Counts.Dirs, v.Counts.BuildEntries, float64(v.Bytes)/1e6, v.DurationSeconds, rate, v.Digest)
	return errors.Join(err, printErr)
}
