package trim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity/tree"
)

// buildTrim is a plan for a build cache. It holds little of each file, because there may
// be millions: the cache is listed for each step.
type buildTrim struct {
	Options
	plan             *buildcache.Plan
	before, bytes    int64
	actions, outputs int    // files that would go
	digest           string // of their names
	// oldest and newest use of an entry that would go.
	oldest, newest *time.Time
}

func planBuild(o Options) (*buildTrim, error) {
	t := &buildTrim{Options: o, plan: buildcache.NewPlan(buildcache.Bounds{MaxSize: o.MaxSize, MaxAge: o.MaxAge, MinAge: o.MinAge}, o.AsOf)}
	if err := t.addOutputs(); err != nil {
		return nil, err
	}
	if err := t.addActions(); err != nil {
		return nil, err
	}
	t.plan.Decide()
	t.before, t.bytes = t.plan.Before(), t.plan.Bytes()
	return t, t.survey()
}

// lastUse is when an entry with this modification time was used last. With a record of
// what warm-ups used, the times were moved by the last of them. Without one the cache
// is a clone, where builds may have used any entry with a moved time since: the go
// command did not mark it. Such an entry counts as used at the time of the run.
func (t *buildTrim) lastUse(mtime time.Time) time.Time {
	if t.Used == nil && buildcache.IsKept(mtime, t.AsOf) {
		return t.AsOf
	}
	return buildcache.LastUsed(mtime, t.AsOf)
}

func (t *buildTrim) share() *Share {
	return &Share{Entries: t.actions, Outputs: t.outputs, Bytes: t.bytes, BeforeBytes: t.before, Oldest: t.oldest, Newest: t.newest}
}

// shard is one directory of the cache: the IDs of its files, in order.
type shard struct {
	*tree.Dir
	actions, outputs []buildcache.ID
}

// each lists one directory after the other.
func (t *buildTrim) each(visit func(s *shard) error) error {
	root, err := tree.Open(t.BuildCache)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	var names []string
	err = root.Each(func(e tree.Entry) error {
		if len(e.Name) == 2 && e.Type == tree.Directory {
			names = append(names, e.Name)
		}
		return nil
	})
	slices.Sort(names)
	var s shard
	for _, name := range names {
		if err == nil {
			err = s.visit(root, name, visit)
		}
	}
	return err
}

// visit lists the directory with a name. One that is gone is empty.
func (s *shard) visit(root *tree.Dir, name string, visit func(s *shard) error) error {
	d, err := root.Sub(name)
	if err != nil {
		return ignoreGone(err)
	}
	s.Dir, s.actions, s.outputs = d, s.actions[:0], s.outputs[:0]
	err = d.Each(func(e tree.Entry) error {
		switch id, kind := buildcache.ParseName(e.Name); {
		case id.Shard() != name: // the go command does not look for it here
		case kind == buildcache.Action && e.Type == tree.Regular:
			s.actions = append(s.actions, id)
		case kind == buildcache.Output:
			s.outputs = append(s.outputs, id)
		}
		return nil
	})
	for _, ids := range [][]buildcache.ID{s.actions, s.outputs} {
		slices.SortFunc(ids, func(a, b buildcache.ID) int { return slices.Compare(a[:], b[:]) })
	}
	if err = ignoreGone(err); err == nil {
		err = visit(s)
	}
	return errors.Join(err, d.Close())
}

func (t *buildTrim) addOutputs() error {
	return t.each(func(s *shard) error {
		for _, id := range s.outputs {
			info, size, err := outputInfo(s.Dir, path.Base(id.OutputPath()))
			if err != nil {
				if ignoreGone(err) != nil {
					return err
				}
				continue
			}
			t.plan.AddOutput(id, size, t.lastUse(info.Mtime))
		}
		return nil
	})
}

func (t *buildTrim) addActions() error {
	return t.named(func(action, output buildcache.ID, used time.Time) { t.plan.AddAction(action, output, used) })
}

// named reads which outputs the entries name. Malformed entries name nothing, and count
// as misses already.
func (t *buildTrim) named(visit func(action, output buildcache.ID, used time.Time)) error {
	var buf []byte
	return t.each(func(s *shard) error {
		for _, id := range s.actions {
			data, info, err := s.ReadFile(path.Base(id.ActionPath()), buf, 4<<10)
			if err != nil {
				if ignoreGone(err) != nil {
					return err
				}
				continue
			}
			buf = data[:0:cap(data)]
			entry, err := buildcache.ParseEntry(data)
			if err != nil {
				entry = buildcache.Entry{}
			}
			visit(id, entry.Output, t.lastUse(info.Mtime))
		}
		return nil
	})
}

// survey counts what would go, and makes the digest of its names.
func (t *buildTrim) survey() error {
	actions, outputs := sha256.New(), sha256.New()
	err := t.each(func(s *shard) error {
		if err := t.surveyFiles(s.Dir, s.actions, buildcache.ID.ActionPath, func(id buildcache.ID, used time.Time) {
			if t.plan.RemovesAction(id, used) {
				count(actions, &t.actions, id)
				extend(&t.oldest, &t.newest, used)
			}
		}); err != nil {
			return err
		}
		return t.surveyFiles(s.Dir, s.outputs, buildcache.ID.OutputPath, func(id buildcache.ID, used time.Time) {
			if t.plan.RemovesOutput(id, used) {
				count(outputs, &t.outputs, id)
			}
		})
	})
	h := sha256.New()
	_, _ = h.Write(actions.Sum(nil)) // a hash never fails
	_, _ = h.Write(outputs.Sum(nil))
	t.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return err
}

func (t *buildTrim) surveyFiles(d *tree.Dir, ids []buildcache.ID, of func(buildcache.ID) string, visit func(id buildcache.ID, used time.Time)) error {
	for _, id := range ids {
		info, err := d.Stat(path.Base(of(id)))
		if err != nil {
			if ignoreGone(err) != nil {
				return err
			}
			continue
		}
		visit(id, t.lastUse(info.Mtime))
	}
	return nil
}

func count(h hash.Hash, n *int, id buildcache.ID) {
	_, _ = h.Write(id[:]) // a hash never fails
	*n++
}

// outputInfo describes an output; one in the form of a directory has the size
// of its file.
func outputInfo(d *tree.Dir, name string) (tree.Info, int64, error) {
	info, err := d.Stat(name)
	if err != nil || info.Type != tree.Directory {
		return info, info.Size, err
	}
	sub, err := d.Sub(name)
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
	if t.Used == nil { // or no use would ever be known
		if err := volume.BeginMarks(t.BuildCache, t.AsOf); err != nil {
			return 0, 0, fmt.Errorf("setting times: %w", err)
		}
	}
	root, err := os.OpenRoot(t.BuildCache)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = root.Close() }()
	removed, err = t.removeActions(root)
	if err != nil || t.outputs == 0 {
		return removed, t.actions - removed, err
	}
	if err := pause(ctx, t.Grace); err != nil {
		return removed, t.actions - removed, fmt.Errorf("stopped before outputs were removed: %w", err)
	}
	if err := t.named(func(_, output buildcache.ID, _ time.Time) { t.plan.Keep(output) }); err != nil {
		return removed, t.actions - removed, err
	}
	outputs, err := t.removeOutputs(root)
	removed += outputs
	return removed, t.actions + t.outputs - removed, err
}

func (t *buildTrim) removeActions(root *os.Root) (removed int, err error) {
	err = t.each(func(s *shard) error {
		for _, id := range s.actions {
			done, err := t.remove(root, id.ActionPath(), func(used time.Time) bool { return t.plan.RemovesAction(id, used) })
			if err != nil {
				return err
			}
			removed += done
		}
		return nil
	})
	return removed, err
}

func (t *buildTrim) removeOutputs(root *os.Root) (removed int, err error) {
	err = t.each(func(s *shard) error {
		for _, id := range s.outputs {
			done, err := t.remove(root, id.OutputPath(), func(used time.Time) bool { return t.plan.RemovesOutput(id, used) })
			if err != nil {
				return err
			}
			removed += done
		}
		return nil
	})
	return removed, err
}

// remove removes one file if it goes, after when it was used last as of now.
func (t *buildTrim) remove(root *os.Root, path string, goes func(used time.Time) bool) (removed int, err error) {
	name := filepath.FromSlash(path)
	info, err := root.Lstat(name)
	if err != nil {
		return 0, ignoreGone(err)
	}
	if !goes(t.lastUse(info.ModTime())) {
		return 0, nil
	}
	if err := root.RemoveAll(name); err != nil {
		return 0, err
	}
	return 1, nil
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
