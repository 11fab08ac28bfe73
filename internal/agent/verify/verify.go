package verify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/volume"
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

// Run checks and reports. The verdict is always reported; if nothing could be
// checked, it is Inconclusive with the cause. An error is a wrong use of flags
// or a report that could not be written.
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
	o.measure(&v)
	return v, errors.Join(o.report(v), o.terminate(v))
}

func (o *Options) check(ctx context.Context, now time.Time) (integrity.Verdict, error) {
	opts, err := o.Flags.Options(ctx, now)
	if err != nil {
		return integrity.Verdict{}, err
	}
	if o.Progress {
		opts.Progress = &integrity.Progress{}
		stop := Show(o.Stderr, opts.Progress, o.Clock)
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

// measure adds how full the volume is, whose root was given.
func (o *Options) measure(v *integrity.Verdict) {
	if o.Root == "" {
		return
	}
	if space, err := volume.Measure(o.Root); err == nil { // of no weight for the verdict
		v.UsedBytes, v.CapacityBytes, v.AvailableBytes = space.Used, space.Capacity, space.Available
		v.TreeBytes, v.Inodes, v.InodesUsed = space.Tree, space.Inodes, space.InodesUsed
	}
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
	return Print(o.Stdout, v, o.Flags)
}

func (o *Options) terminate(v integrity.Verdict) error {
	if o.TerminationLog == "" {
		return nil
	}
	return os.WriteFile(o.TerminationLog, v.Fit(integrity.TerminationLimit), 0o644) //nolint:gosec // the kubelet reads it
}
