package caches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
)

// reference adds the checksums of an earlier state, whose digest was verified,
// to the trust data. If the manifest that its writer recorded does not have
// that digest, the state is checked again, and the check must result in that
// digest.
func (f *Flags) reference(ctx context.Context, o *integrity.Options, now time.Time) error {
	if f.Reference == "" {
		return nil
	}
	if f.ReferenceDigest == "" {
		return &UsageError{"--reference requires --reference-digest: the digest that was verified"}
	}
	if o.Trust == nil {
		o.Trust = integrity.NewTrust()
	}
	recorded, err := f.recorded()
	if err != nil {
		recorded, err = f.rechecked(ctx, now)
	}
	if err != nil {
		return fmt.Errorf("--reference %s: %w", f.Reference, err)
	}
	return o.Trust.AddProven("the reference", strings.NewReader(recorded))
}

// recorded is what the writer of the reference left, as lines of a go.sum file.
func (f *Flags) recorded() (string, error) {
	name := record.ManifestPath(f.Reference)
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("%s is no manifest", name))
	}
	r, closer, err := manifest.Open(name)
	if err != nil {
		return "", err
	}
	sums, err := f.sums(r)
	return sums, errors.Join(err, closer.Close())
}

// rechecked is what a check of the whole reference finds.
func (f *Flags) rechecked(ctx context.Context, now time.Time) (string, error) {
	o := integrity.Options{Layout: f.Layout, Workers: f.Workers, Now: now}
	for _, of := range []struct{ to, like *string }{{&o.ModCache, &f.ModCache}, {&o.BuildCache, &f.BuildCache}, {&o.Store, &f.Store}} {
		if *of.like != "" {
			*of.to = filepath.Join(f.Reference, filepath.Base(*of.like))
		}
	}
	out, in := io.Pipe()
	go func() {
		o.Manifest = in
		_, err := integrity.Check(ctx, o)
		in.CloseWithError(err)
	}()
	sums, err := f.sums(manifest.NewReader(out))
	return sums, errors.Join(err, out.Close())
}

// sums reads a manifest, which must have the reference's digest.
func (f *Flags) sums(r *manifest.Reader) (string, error) {
	var lines strings.Builder
	for {
		m, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if m.Kind != manifest.Module && m.Kind != manifest.Stored {
			continue
		}
		if !m.Zip.IsZero() {
			fmt.Fprintf(&lines, "%s %s %s\n", m.Path, m.Version.Version, m.Zip)
		}
		if !m.GoMod.IsZero() {
			fmt.Fprintf(&lines, "%s %s/go.mod %s\n", m.Path, m.Version.Version, m.GoMod)
		}
	}
	if r.Digest() != f.ReferenceDigest {
		return "", fmt.Errorf("its digest is %s, not the verified %s", r.Digest(), f.ReferenceDigest)
	}
	return lines.String(), nil
}
