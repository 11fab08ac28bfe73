package trim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity/tree"
)

// buildTrim is a plan for a build cache.
type buildTrim struct {
	Options
	plan buildcache.Plan
	// oldest and newest use of an entry that would go.
	oldest, newest *time.Time
}

func planBuild(o Options) (*buildTrim, error) {
	t := &buildTrim{Options: o}
	outputs := map[buildcache.ID]buildcache.Aged{}
	actions, err := t.scan(outputs)
	if err != nil {
		return nil, err
	}
	t.plan = buildcache.PlanTrim(actions, outputs, buildcache.Bounds{MaxSize: o.MaxSize, MaxAge: o.MaxAge, MinAge: o.MinAge}, o.AsOf)
	t.span(actions)
	return t, nil
}

// span notes when the first and the last of the entries that would go were
// used. Actions are sorted by that, as a plan leaves them.
func (t *buildTrim) span(actions []buildcache.Aged) {
	if n := len(t.plan.Actions); n > 0 {
		t.oldest, t.newest = &actions[0].Used, &actions[n-1].Used
	}
}

func (t *buildTrim) share() *Share {
	return &Share{Entries: len(t.plan.Actions), Outputs: len(t.plan.Outputs), Bytes: t.plan.Bytes, BeforeBytes: t.plan.Before, Oldest: t.oldest, Newest: t.newest}
}

// scan lists action entries and, if it is given a map, outputs. Malformed
// entries name nothing, and count as misses already.
func (t *buildTrim) scan(outputs map[buildcache.ID]buildcache.Aged) ([]buildcache.Aged, error) {
	root, err := tree.Open(t.BuildCache)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var actions []buildcache.Aged
	err = root.Each(func(e tree.Entry) error {
		if len(e.Name) != 2 || e.Type != tree.Directory {
			return nil
		}
		d, err := root.Sub(e.Name)
		if err != nil {
			return ignoreGone(err)
		}
		found, err := t.scanShard(d, outputs)
		actions = append(actions, found...)
		return errors.Join(ignoreGone(err), d.Close())
	})
	return actions, err
}

func (t *buildTrim) scanShard(d *tree.Dir, outputs map[buildcache.ID]buildcache.Aged) (actions []buildcache.Aged, err error) {
	var buf []byte
	err = d.Each(func(e tree.Entry) error {
		id, kind := buildcache.ParseName(e.Name)
		switch {
		case kind == buildcache.Action && e.Type == tree.Regular:
			data, info, err := d.ReadFile(e.Name, buf, 4<<10)
			if err != nil {
				return ignoreGone(err)
			}
			buf = data[:0:cap(data)]
			entry, err := buildcache.ParseEntry(data)
			if err != nil {
				entry = buildcache.Entry{}
			}
			entry.Action = id
			actions = append(actions, buildcache.Aged{Entry: entry, Used: buildcache.LastUsed(info.Mtime, t.AsOf)})
		case kind == buildcache.Output && outputs != nil:
			info, size, err := outputInfo(d, e)
			if err != nil {
				return ignoreGone(err)
			}
			outputs[id] = buildcache.Aged{Entry: buildcache.Entry{Output: id, Size: size}, Used: buildcache.LastUsed(info.Mtime, t.AsOf)}
		}
		return nil
	})
	return actions, err
}

// outputInfo describes an output; one in the form of a directory has the size
// of its file.
func outputInfo(d *tree.Dir, e tree.Entry) (tree.Info, int64, error) {
	info, err := d.Stat(e.Name)
	if err != nil || info.Type != tree.Directory {
		return info, info.Size, err
	}
	sub, err := d.Sub(e.Name)
	if err != nil {
		return info, 0, err
	}
	size := int64(0)
	err = sub.Each(func(inner tree.Entry) error {
		i, err := sub.Stat(inner.Name)
		size += i.Size
		return ignoreGone(err)
	})
	return info, size, errors.Join(err, sub.Close())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// apply removes action entries, waits, and removes outputs that no entry names
// then and no build has used meanwhile. The trim of the go command is
// postponed: it has no bound on size and no grace.
func (t *buildTrim) apply(ctx context.Context) (removed, spared int, err error) {
	if err := volume.MarkTrimmedIfSpace(t.BuildCache, t.Clock()); err != nil {
		return 0, 0, err
	}
	root, err := os.OpenRoot(t.BuildCache)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = root.Close() }()
	gone := map[buildcache.ID]bool{}
	for _, id := range t.plan.Actions {
		done, err := t.remove(root, id.ActionPath())
		if err != nil {
			return removed, spared, err
		}
		count(done, &removed, &spared)
		gone[id] = done
	}
	if len(t.plan.Outputs) == 0 {
		return removed, spared, nil
	}
	if err := pause(ctx, t.Grace); err != nil {
		return removed, spared, fmt.Errorf("stopped before outputs were removed: %w", err)
	}
	named, err := t.scan(nil)
	if err != nil {
		return removed, spared, err
	}
	keep := map[buildcache.ID]bool{}
	for i := range named {
		keep[named[i].Output] = true
	}
	for _, id := range t.plan.Outputs {
		done := false
		if !keep[id] {
			if done, err = t.remove(root, id.OutputPath()); err != nil {
				return removed, spared, err
			}
		}
		count(done, &removed, &spared)
	}
	return removed, spared, nil
}

func count(done bool, removed, spared *int) {
	if done {
		*removed++
	} else {
		*spared++
	}
}

// remove removes one file unless it was used since the plan was made.
func (t *buildTrim) remove(root *os.Root, path string) (bool, error) {
	name := filepath.FromSlash(path)
	info, err := root.Lstat(name)
	if err != nil {
		return false, ignoreGone(err)
	}
	if t.AsOf.Sub(buildcache.LastUsed(info.ModTime(), t.AsOf)) < t.MinAge {
		return false, nil
	}
	if err := root.RemoveAll(name); err != nil {
		return false, err
	}
	return true, nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
