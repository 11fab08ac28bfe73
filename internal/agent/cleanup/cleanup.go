package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/usage"
)

// Options are the command's flags.
type Options struct {
	Root       string // of the volume
	ModCache   string // on the volume; may be empty
	BuildCache string // likewise

	MaxSize int64 // of both caches in bytes; 0: any
	MaxAge  time.Duration

	Approved string    // digest of the plan to apply; empty: only plan
	AsOf     time.Time // of that plan

	Sealed string // digest of the manifest that the last writer reported; empty: unknown
	// NeverSealed: no writer has reported one, so that no plan is applied.
	NeverSealed bool

	Go             string // the go command
	Umask          int
	JSON           bool
	TerminationLog string

	Clock  func() time.Time
	Env    []string // of the process
	Stdout io.Writer
}

// Run plans a cleanup, or applies a plan. It always returns a report; an error
// means that the report could not be written.
func Run(ctx context.Context, o Options) (cleanup.Report, error) {
	start := o.Clock()
	c := &run{Options: o, now: start}
	c.made.ManifestDigest = o.Sealed
	if err := c.all(ctx); err != nil {
		c.made.Outcome, c.made.Message = cleanup.Failed, err.Error()
	}
	r := c.made
	if used, err := volume.Measure(o.Root); err == nil {
		r.UsedBytes, r.CapacityBytes, r.AvailableBytes = used.Used, used.Capacity, used.Available
		r.TreeBytes, r.Inodes, r.InodesUsed = used.Tree, used.Inodes, used.InodesUsed
	}
	r.DurationSeconds = o.Clock().Sub(start).Round(time.Millisecond).Seconds()
	return r, o.report(r)
}

// run is one run of the command.
type run struct {
	Options
	now     time.Time
	used    *usage.Record
	usedErr error // why there is no record of use
	made    cleanup.Report
}

func (c *run) all(ctx context.Context) error {
	volume.Umask(c.Umask)
	if c.BuildCache != "" {
		// Or a go command would trim by its own rules.
		if err := volume.MarkTrimmedIfSpace(c.BuildCache, c.now); err != nil {
			return err
		}
	}
	c.used, c.usedErr = record.ReadUsage(c.Root)
	c.preflight(ctx)
	if failing := c.made.Failing(); failing != nil {
		c.made.Outcome, c.made.Message = cleanup.Paused, failing.Name+": "+failing.Message
		return nil
	}
	options := c.bounds()
	plan, err := trim.Run(ctx, options)
	if err != nil {
		return err
	}
	c.made.Plan = planned(plan)
	switch c.Approved {
	case "":
		c.made.Outcome = cleanup.Planned
		return nil
	case plan.Digest:
		if err := c.sealed(ctx); err != nil {
			return err
		}
		return c.apply(ctx, options)
	}
	c.made.Outcome = cleanup.Changed
	c.made.Message = fmt.Sprintf("the plan is %s now, not %s: the caches have changed since", plan.Digest, c.Approved)
	return nil
}

// bounds are the options of the trim that a cleanup consists of.
func (c *run) bounds() trim.Options {
	asOf := c.AsOf
	if asOf.IsZero() {
		asOf = c.now.UTC().Truncate(time.Second)
	}
	return trim.Options{
		BuildCache: c.BuildCache, ModCache: c.ModCache, Exclusive: true, Used: c.used,
		MaxSize: c.MaxSize, MaxAge: c.MaxAge, PlanOnly: true, AsOf: asOf, Clock: c.Clock,
	}
}

func (c *run) rebuild() warm.Options {
	return warm.Options{ModCache: c.ModCache, BuildCache: c.BuildCache, Root: c.Root, Go: c.Go, Env: c.Env, Clock: c.Clock}
}

// planned converts the plan of a trim into its form in the report.
func planned(r trim.Result) *cleanup.Plan {
	p := &cleanup.Plan{Digest: r.Digest, AsOf: r.AsOf, OverBytes: r.OverBytes}
	layer := func(s *trim.Share) *cleanup.Layer {
		if s == nil {
			return nil
		}
		p.Entries, p.Bytes = p.Entries+int64(s.Entries), p.Bytes+s.Bytes
		return &cleanup.Layer{
			Entries: int64(s.Entries), Outputs: int64(s.Outputs), Bytes: s.Bytes, BeforeBytes: s.BeforeBytes,
			Oldest: utc(s.Oldest), Newest: utc(s.Newest),
		}
	}
	p.Modules, p.Build = layer(r.Modules), layer(r.Build)
	return p
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC().Truncate(time.Second)
	return &u
}

// apply removes what was approved, proves that the caches are as warm as
// before, and seals what is left.
func (c *run) apply(ctx context.Context, options trim.Options) error {
	options.PlanOnly, options.Approved = false, c.Approved
	c.made.ManifestDigest = "" // until it is sealed again
	done, err := trim.Run(ctx, options)
	for _, s := range []*trim.Share{done.Build, done.Modules} {
		if s != nil {
			c.made.RemovedEntries += int64(s.Removed)
		}
	}
	if err != nil {
		return fmt.Errorf("removing what was approved: %w", err)
	}
	c.made.FreedBytes = c.made.Plan.Bytes
	c.prove(ctx)
	return c.seal(ctx)
}

func (c *run) prove(ctx context.Context) {
	compiled, err := warm.Rebuild(ctx, c.rebuild(), false)
	p := &cleanup.Proof{Result: cleanup.Pass, Compiled: compiled}
	switch {
	case err != nil:
		p.Result, p.Message = cleanup.Fail, err.Error()
	case compiled > 0:
		p.Result = cleanup.Fail
		p.Message = fmt.Sprintf("repeating the last warm-up's builds compiled %d packages", compiled)
	}
	c.made.Proof = p
}

// sealed refuses caches that are corrupt or not what the last writer left: the manifest
// of this run would vouch for the difference, and for what the go command derives from
// it in the proof.
func (c *run) sealed(ctx context.Context) error {
	if c.NeverSealed {
		return errors.New("nothing was removed: no writer has recorded what it left in the caches: request a warm-up")
	}
	if c.Sealed == "" {
		return nil
	}
	corrupt, first := 0, ""
	v, err := integrity.Check(ctx, integrity.Options{
		ModCache: c.ModCache, BuildCache: c.BuildCache, Volume: c.Root, Live: true, Sealed: c.Sealed, Now: c.now,
		Observe: func(f integrity.Finding) {
			if f.Severity == integrity.SeverityCorrupt && f.Class != integrity.Unsealed && f.Class != integrity.Unexpected {
				corrupt, first = corrupt+1, f.Path+": "+f.Detail
			}
		},
	})
	if err != nil {
		return err
	}
	if corrupt > 0 {
		return fmt.Errorf("nothing was removed: %d entries are corrupt, such as %s: request a warm-up, which removes them", corrupt, first)
	}
	if n := v.Findings[integrity.Unsealed]; n > 0 {
		return fmt.Errorf("nothing was removed: %d entries are not what the last writer left: request a warm-up, which removes them", n)
	}
	return nil
}

// seal leaves the volume as a warm-up does: records, times and manifest fit
// what is there, and everything is on the device.
func (c *run) seal(ctx context.Context) error {
	if c.ModCache != "" {
		if err := volume.RemoveUnfinished(c.ModCache); err != nil {
			return err
		}
	}
	if c.BuildCache != "" {
		if err := volume.Keep(c.BuildCache, c.now); err != nil {
			return fmt.Errorf("setting times in the build cache: %w", err)
		}
	}
	if err := volume.RemoveRepositories(c.ModCache); err != nil {
		return err
	}
	v, err := record.Seal(ctx, c.Root, integrity.Options{ModCache: c.ModCache, BuildCache: c.BuildCache, Now: c.now})
	if err != nil {
		return fmt.Errorf("checking what is left: %w", err)
	}
	c.made.Modules, c.made.BuildEntries, c.made.ManifestDigest = int64(v.Counts.Modules), int64(v.Counts.BuildEntries), v.Digest
	switch v.Verdict {
	case integrity.Intact:
		c.made.Outcome = cleanup.Applied
	case integrity.OutcomeCorrupt:
		c.made.Outcome, c.made.Message = cleanup.Corrupt, v.Message
	case integrity.Inconclusive:
		return fmt.Errorf("what is left could not be checked: %s", v.Message)
	}
	return volume.Sync(c.Root)
}

func (o *Options) report(r cleanup.Report) error {
	var err error
	if o.JSON {
		err = json.NewEncoder(o.Stdout).Encode(r)
	} else {
		_, err = io.WriteString(o.Stdout, text(r))
	}
	if o.TerminationLog == "" {
		return err
	}
	return errors.Join(err, os.WriteFile(o.TerminationLog, r.Fit(integrity.TerminationLimit), 0o644)) //nolint:gosec // the kubelet reads it
}

// text is a report for a person.
func text(r cleanup.Report) string {
	s := string(r.Outcome)
	if r.Message != "" {
		s += ": " + r.Message
	}
	s += "\n"
	for _, c := range r.Preflight {
		s += fmt.Sprintf("  %-10s %s %s\n", c.Name, c.Result, c.Message)
	}
	if p := r.Plan; p != nil {
		s += fmt.Sprintf("plan %s as of %s: %d entries, %d MiB\n", p.Digest, p.AsOf.Format(time.RFC3339), p.Entries, p.Bytes>>20)
	}
	if r.Outcome == cleanup.Applied {
		s += fmt.Sprintf("removed %d files and versions, %d MiB; a repeated build compiled %d packages\n", r.RemovedEntries, r.FreedBytes>>20, r.Proof.Compiled)
	}
	return s
}
