package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
)

// Options are the command's flags.
type Options struct {
	caches.Flags
	Root           string // of the volume; default: what the caches have in common
	Manifest       string // where to write the canonical manifest, compressed
	JSON           bool
	TerminationLog string
	Progress       bool // show how far it is, on Stderr

	Clock  func() time.Time
	Stdout io.Writer
	Stderr io.Writer
}

// Run checks and reports. The verdict is always reported, also when nothing
// could be checked: then it is Inconclusive and says why. An error is a wrong
// use of flags or a report that could not be written.
func Run(ctx context.Context, o Options) (integrity.Verdict, error) {
	start := o.Clock()
	v, err := o.check(ctx, start)
	var usage *caches.UsageError
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
	opts, err := o.Flags.Options(ctx, now)
	if err != nil {
		return integrity.Verdict{}, err
	}
	if o.Progress {
		opts.Progress = &integrity.Progress{}
		stop := show(o.Stderr, opts.Progress)
		defer stop()
	}
	if o.Manifest == "" {
		return integrity.Check(ctx, opts)
	}
	return o.withManifest(ctx, opts)
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
