package store

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/store"
)

const (
	// measuredFor is how long a walk over the volume counts, and restBetween how many
	// times longer than the walk.
	measuredFor = time.Minute
	restBetween = 50
)

// usage is how full the volume is. Where other volumes share its file system, only a
// walk finds what this one takes.
type usage struct {
	store string
	size  int64 // of the volume; 0: not known
	clock func() time.Time
	tree  atomic.Int64 // bytes that its files took at the last walk; 0: none has ended
}

func newUsage(o Options) *usage { return &usage{store: o.Store, size: o.VolumeSize, clock: o.Clock} }

// space looks at the volume, without a walk.
func (u *usage) space() (volume.Space, error) {
	s, err := volume.Usage(u.store)
	tree := u.tree.Load()
	if err != nil || tree == 0 || !store.Shared(s.Capacity, u.size) {
		return s, err
	}
	// Its inodes are not the volume's to use up.
	return volume.Space{Used: tree, Available: min(s.Available, max(0, u.size-tree)), Capacity: u.size, Tree: tree}, nil
}

// measure walks over the volume, if its files are to be counted.
func (u *usage) measure() {
	s, err := volume.Usage(u.store)
	if err != nil || !store.Shared(s.Capacity, u.size) {
		return
	}
	if s, err = volume.Measure(filepath.Dir(filepath.Clean(u.store))); err == nil {
		u.tree.Store(s.Tree)
	}
}

// keepMeasuring walks again and again, until ctx ends.
func (u *usage) keepMeasuring(ctx context.Context) {
	for {
		began := u.clock()
		u.measure()
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(measuredFor, restBetween*u.clock().Sub(began))):
		}
	}
}
