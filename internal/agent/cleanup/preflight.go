package cleanup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
)

// tolerated is the share of malformed entries that a cache may have: some are
// left by writers that were killed. More of them mean that it is not what it is
// taken for, or that something damages it.
const tolerated = 0.01

// preflight makes the three checks. All are made, whatever the results of the
// others.
func (c *run) preflight(ctx context.Context) {
	for _, check := range []struct {
		name string
		make func(context.Context) error
	}{
		{cleanup.Ownership, func(context.Context) error { return c.ownership() }},
		{cleanup.Index, func(context.Context) error { return c.index() }},
		{cleanup.Reuse, c.reuse},
	} {
		result := cleanup.Check{Name: check.name, Result: cleanup.Pass}
		err := check.make(ctx)
		var failed *failure
		switch {
		case errors.As(err, &failed):
			result.Result, result.Message = cleanup.Fail, failed.Error()
		case err != nil:
			result.Result, result.Message = cleanup.Unknown, err.Error()
		}
		c.made.Preflight = append(c.made.Preflight, result)
	}
}

// failure is what a check has found, in place of an error that kept it from
// finding anything.
type failure struct{ text string }

// Error is what was found.
func (f *failure) Error() string { return f.text }

func failed(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...)} }

// owner is the user and the groups of this process.
type owner struct {
	uid    int
	groups []int
}

// owns reports whether the owner may change modes and times.
func (o owner) owns(i tree.Info) bool { return i.UID == o.uid }

// writes reports whether the owner may add to and remove from a directory.
func (o owner) writes(i tree.Info) bool {
	if i.UID == o.uid {
		return i.Mode&0o300 == 0o300
	}
	return slices.Contains(o.groups, i.GID) && i.Mode&0o030 == 0o030
}

// ownership looks at all files: each must be removable, and extracted modules,
// whose directories are read-only, must be owned.
func (c *run) ownership() error {
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	me := owner{uid: os.Geteuid(), groups: append(groups, os.Getegid())}
	var foreign foreigners
	if c.BuildCache != "" {
		if err := eachDirectory(c.BuildCache, func(path string, i tree.Info) {
			if !me.writes(i) {
				foreign.add(c.BuildCache+"/"+path, i)
			}
		}); err != nil {
			return err
		}
	}
	if c.ModCache != "" {
		if err := eachDirectory(c.ModCache, func(path string, i tree.Info) {
			if extracted := strings.Contains(path, "@") && !strings.HasPrefix(path, "cache/"); extracted && !me.owns(i) || !extracted && !me.writes(i) {
				foreign.add(c.ModCache+"/"+path, i)
			}
		}); err != nil {
			return err
		}
	}
	if foreign.count > 0 {
		return failed("%d directories are not the writer's (uid %d) to change, such as %s; see spec.storage.ownership", foreign.count, me.uid, foreign.first)
	}
	return nil
}

type foreigners struct {
	count int
	first string
}

func (f *foreigners) add(path string, i tree.Info) {
	if f.count++; f.count == 1 {
		f.first = fmt.Sprintf("%s (uid %d, gid %d, mode %04o)", strings.TrimSuffix(path, "/."), i.UID, i.GID, i.Mode)
	}
}

// eachDirectory visits the directory and all below it. What vanishes meanwhile
// is no matter.
func eachDirectory(root string, visit func(path string, i tree.Info)) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", root)
	}
	d, err := tree.Open(root)
	if err != nil {
		return err
	}
	self, err := d.Stat(".")
	if err != nil {
		return errors.Join(err, d.Close())
	}
	visit(".", self)
	return errors.Join(walkDirectories(d, visit), d.Close())
}

func walkDirectories(d *tree.Dir, visit func(path string, i tree.Info)) error {
	return d.Each(func(e tree.Entry) error {
		if e.Type != tree.Directory {
			return nil
		}
		info, err := d.Stat(e.Name)
		if err != nil {
			return ignoreGone(err)
		}
		visit(d.Join(e.Name), info)
		sub, err := d.Sub(e.Name)
		if err != nil {
			return ignoreGone(err)
		}
		return errors.Join(walkDirectories(sub, visit), sub.Close())
	})
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// index looks at names and action entries: the directories must be there, and
// what is in them must be what the go command writes, but for a small share.
func (c *run) index() error {
	var count tally
	if c.BuildCache != "" {
		if err := count.build(c.BuildCache); err != nil {
			return err
		}
	}
	if c.ModCache != "" {
		if err := count.modules(c.ModCache); err != nil {
			return err
		}
	}
	if float64(count.malformed) > tolerated*float64(count.all) {
		return failed("%d of %d entries are malformed, such as %s: at most %d in 100 may be; check the caches with gocache-agent verify", count.malformed, count.all, count.first, int(100*tolerated))
	}
	return nil
}

type tally struct {
	all, malformed int
	first          string
}

func (t *tally) bad(path string) {
	if t.malformed++; t.malformed == 1 {
		t.first = path
	}
}

const shards = 256

func (t *tally) build(dir string) error {
	root, err := tree.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	missing := 0
	for i := range shards {
		d, err := root.Sub(fmt.Sprintf("%02x", i))
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(t.shard(d), d.Close()); err != nil {
			return err
		}
	}
	if missing > 0 {
		return failed("%d of the %d directories of the build cache are missing: is %s a build cache?", missing, shards, dir)
	}
	return nil
}

func (t *tally) shard(d *tree.Dir) error {
	var buf []byte
	return d.Each(func(e tree.Entry) error {
		t.all++
		id, kind := buildcache.ParseName(e.Name)
		if kind == buildcache.Other || id.Shard() != d.Path() {
			t.bad(d.Join(e.Name))
			return nil
		}
		if kind != buildcache.Action {
			return nil
		}
		data, _, err := d.ReadEntry(e, buf, int64(buildcache.EntryLen)+1)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if errors.Is(err, tree.ErrTooLarge) || errors.Is(err, tree.ErrNotRegular) {
			t.bad(d.Join(e.Name))
			return nil
		}
		if err != nil {
			return err
		}
		buf = data[:0:cap(data)]
		if entry, err := buildcache.ParseEntry(data); err != nil || entry.Action != id {
			t.bad(d.Join(e.Name))
		}
		return nil
	})
}

func (t *tally) modules(dir string) error {
	root, err := tree.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	contents, err := modcache.Scan(root)
	if err != nil {
		return err
	}
	t.all += len(contents.Versions)
	for _, r := range contents.Remarks {
		if r.Err != nil {
			return fmt.Errorf("%s: %w", r.Path, r.Err)
		}
		if r.Kind == modcache.RemarkVCS {
			continue // the run removes it
		}
		t.all++
		t.bad(r.Path)
	}
	return nil
}

// reuse asks what a repetition of the last warm-up's builds would compile.
func (c *run) reuse(ctx context.Context) error {
	if c.usedErr != nil {
		if errors.Is(c.usedErr, record.ErrNoUsage) {
			return failed("%v", c.usedErr)
		}
		return c.usedErr
	}
	compiled, err := warm.Rebuild(ctx, c.rebuild(), true)
	switch {
	case errors.Is(err, warm.ErrNoGo):
		return err
	case err != nil:
		return failed("the last warm-up's builds cannot be repeated offline: %v", err)
	case compiled > 0:
		return failed("repeating the last warm-up's builds would compile %d packages: the cache is not warm, or the toolchain or its flags are others; let a warm-up run", compiled)
	}
	return nil
}
