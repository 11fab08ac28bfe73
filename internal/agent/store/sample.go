package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
)

const (
	// maxSample is how large the archive of a sampled module may be, in bytes:
	// the operator requests it regularly.
	maxSample = 256 << 10
	// hungry and sated are how long a sample stays that could have been larger,
	// and one that could not.
	hungry = 10 * time.Second
	sated  = 10 * time.Minute
	// idle is how much longer the sampler rests than it works.
	idle = 100
)

// sampler picks a few modules of a store, with the sums that it saw when it met
// each first: what the store's server is asked for, and compared with.
//
// It picks by probe.SampleRank, which is the same everywhere: stores that hold
// nearly the same then have a sample in common.
type sampler struct {
	dir    string
	layout store.Layout

	mu   sync.Mutex
	seen map[module.Version]probe.Sampled
	last []probe.Sampled
}

// keepSampling looks again and again, until ctx ends.
func (w *Watch) keepSampling(ctx context.Context) error {
	for {
		began := w.Clock()
		sample := w.sample()
		rest := sated
		if len(sample) < probe.Samples {
			rest = hungry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(rest, idle*w.Clock().Sub(began))):
		}
	}
}

// sample looks now, and remembers what it found.
func (w *Watch) sample() []probe.Sampled {
	w.sampling.Lock()
	defer w.sampling.Unlock()
	sample, err := w.sampler.look()
	if err != nil {
		_, _ = fmt.Fprintf(w.Stderr, "store %s: no sample: %v\n", w.Store, err)
		return nil // what was found before still holds
	}
	w.history.sampled(sample)
	return sample
}

func (s *sampler) look() (sample []probe.Sampled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root, err := tree.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	contents, err := store.Scan(root, s.layout)
	if err != nil {
		return nil, err
	}
	complete := slices.DeleteFunc(contents.Versions, func(v store.Version) bool {
		return v.ZipSize > maxSample || !v.Files.Has(modcache.Zip) || !v.Files.Has(modcache.Mod) || !v.Files.Has(modcache.Info)
	})
	byRank := map[string]store.Version{}
	for _, v := range complete {
		byRank[probe.SampleRank(v.Version)] = v
	}
	seen := map[module.Version]probe.Sampled{}
	for _, rank := range slices.Sorted(maps.Keys(byRank)) {
		if len(sample) == probe.Samples {
			break
		}
		v := byRank[rank]
		sampled, known := s.seen[v.Version]
		if !known {
			if sampled, err = s.sums(root, &v); err != nil {
				continue // the check of the store reports it
			}
		}
		sample, seen[v.Version] = append(sample, sampled), sampled
	}
	s.seen, s.last = seen, sample
	return sample, nil
}

// sums hashes what lies in the store. What a server could not pass on as it
// lies there, or a client would not take as it is, makes no sample.
func (s *sampler) sums(root *tree.Dir, v *store.Version) (probe.Sampled, error) {
	dir, err := root.Sub(v.Dir)
	if err != nil {
		return probe.Sampled{}, err
	}
	defer func() { _ = dir.Close() }() // read only
	var files [3][]byte
	for i, kind := range []modcache.Kind{modcache.Info, modcache.Mod, modcache.Zip} {
		if files[i], err = asStored(dir, s.layout.Name(v, kind)); err != nil {
			return probe.Sampled{}, err
		}
	}
	var info goproxy.Info
	if err := json.Unmarshal(files[0], &info); err != nil || info.Version != v.Version.Version {
		return probe.Sampled{}, errors.Join(fmt.Errorf("its info is of version %q", info.Version), err)
	}
	if path := modfile.ModulePath(files[1]); path != v.Path {
		return probe.Sampled{}, fmt.Errorf("its go.mod is of module %q", path)
	}
	sampled := probe.Sampled{Version: v.Version}
	if sampled.Mod, err = goproxy.SumMod(files[1]); err != nil {
		return probe.Sampled{}, err
	}
	sampled.Zip, err = goproxy.SumZip(bytes.NewReader(files[2]), int64(len(files[2])), maxUnpacked)
	return sampled, err
}

// asStored reads a small file, if it is what its server had stored.
func asStored(dir *tree.Dir, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	data, err := f.ReadAll(nil, maxSample)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if recorded := store.RecordedSum(f.FD()); recorded != "" && recorded != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("%s is not what was stored", name)
	}
	return data, nil
}

// maxUnpacked bounds what a sampled archive unpacks to, in bytes.
const maxUnpacked = 32 << 20
