package trim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/usage"
)

// Options are the command's flags.
type Options struct {
	BuildCache string
	MaxSize    int64
	MaxAge     time.Duration
	MinAge     time.Duration
	Grace      time.Duration // between the removal of entries and of outputs

	ModCache   string
	KeepGoSum  []string // what these name stays
	MaxModSize int64    // 0: all that is not kept goes
	// Exclusive asserts that no build uses the module cache now.
	Exclusive bool

	// Used is what the warm-ups of a volume have used. With it MaxSize and
	// MaxAge bound both caches together, nothing that the last warm-up used
	// is removed, and KeepGoSum and MaxModSize have no effect.
	Used *usage.Record

	PlanOnly bool
	Approved string    // the plan's digest must be this
	AsOf     time.Time // what ages are measured against; default: now

	Clock func() time.Time
}

// Result is what would be, or was, removed.
type Result struct {
	Digest  string    `json:"digest"` // of the plan
	AsOf    time.Time `json:"asOf"`
	Applied bool      `json:"applied"`
	Build   *Share    `json:"build,omitempty"`
	Modules *Share    `json:"modules,omitempty"`
	// OverBytes is by how much what has to stay exceeds the bound of size.
	OverBytes int64 `json:"overBytes,omitempty"`
}

// Share is one cache's part.
type Share struct {
	Entries     int   `json:"entries"` // action entries, or module versions
	Outputs     int   `json:"outputs,omitempty"`
	Bytes       int64 `json:"bytes"`
	BeforeBytes int64 `json:"beforeBytes"`
	// Oldest and Newest are the times of last use of what would go.
	Oldest   *time.Time `json:"oldest,omitempty"`
	Newest   *time.Time `json:"newest,omitempty"`
	Removed  int        `json:"removed"`
	Spared   int        `json:"spared,omitempty"` // were used again meanwhile
	Versions []string   `json:"versions,omitempty"`
}

// ErrUsage means that the options contradict each other.
var ErrUsage = errors.New("usage")

// ErrChanged means that the plan is not the approved one.
var ErrChanged = errors.New("the plan has changed since it was approved")

const maxListed = 50

// Run plans, and applies the plan unless only the plan is requested.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.AsOf.IsZero() {
		o.AsOf = o.Clock()
	}
	if err := o.validate(); err != nil {
		return Result{}, err
	}
	r := Result{AsOf: o.AsOf}
	build, modules, err := plan(o, &r)
	if err != nil {
		return r, err
	}
	if o.PlanOnly {
		return r, nil
	}
	if o.Approved != "" && o.Approved != r.Digest {
		return r, fmt.Errorf("%w: it is %s now, not %s", ErrChanged, r.Digest, o.Approved)
	}
	// The build cache goes first: to remove from it needs no room on a full volume.
	if build != nil {
		if r.Build.Removed, r.Build.Spared, err = build.apply(ctx); err != nil {
			return r, fmt.Errorf("build cache: %w", err)
		}
	}
	if modules != nil {
		if r.Modules.Removed, err = modules.apply(); err != nil {
			return r, fmt.Errorf("module cache: %w", err)
		}
	}
	r.Applied = true
	return r, nil
}

// plan decides what would go, and describes it in the result.
func plan(o Options, r *Result) (build *buildTrim, modules *moduleTrim, err error) {
	h := sha256.New()
	if o.Used != nil {
		if build, modules, r.OverBytes, err = planTogether(o); err != nil {
			return nil, nil, err
		}
	}
	if o.BuildCache != "" {
		if build == nil {
			if build, err = planBuild(o); err != nil {
				return nil, nil, fmt.Errorf("build cache: %w", err)
			}
			r.OverBytes = build.plan.Over()
		}
		r.Build = build.share()
		_, _ = h.Write([]byte(build.digest)) // a hash never fails
	}
	if o.ModCache != "" {
		if modules == nil {
			if modules, err = planModules(o); err != nil {
				return nil, nil, fmt.Errorf("module cache: %w", err)
			}
		}
		r.Modules = modules.share()
		_, _ = h.Write([]byte(modules.digest()))
	}
	r.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return build, modules, nil
}

func (o *Options) validate() error {
	switch {
	case o.BuildCache == "" && o.ModCache == "":
		return fmt.Errorf("%w: nothing to trim: give --buildcache or --modcache", ErrUsage)
	case o.ModCache != "" && !o.Exclusive && !o.PlanOnly:
		return fmt.Errorf("%w: a module cache can only be trimmed while no build uses it: confirm that with --exclusive", ErrUsage)
	case o.ModCache != "" && len(o.KeepGoSum) == 0 && o.Used == nil:
		return fmt.Errorf("%w: a module cache has no marks of use: name the versions to keep with --keep-gosum", ErrUsage)
	case o.MinAge < buildcache.MinAge && o.Grace > 0:
		return fmt.Errorf("%w: --min-age below %s is only safe with no build running; then give --grace 0 too", ErrUsage, buildcache.MinAge)
	}
	return nil
}
