package prog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/buildcache"
)

const (
	// ownerFile names what an upper layer is of.
	ownerFile = ".of"
	// lockFile is locked shared by each go command that uses the layer, and
	// exclusively to remove entries.
	lockFile = ".lock"
	// block is what a file takes of the disk in multiples of, in bytes.
	block = 4096
	// maxOwnAttempts to record what a layer is of, of which more than one fails only
	// if other go commands begin at the same time.
	maxOwnAttempts = 10
)

// Removed is what was removed from an upper layer, and what stays.
type Removed struct {
	// Ran is false if another go command uses the layer, so that nothing was
	// removed.
	Ran bool
	// Entries and Bytes of the layer afterwards, and Evicted entries.
	Entries, Evicted int
	Bytes            int64
}

// private is an upper layer as a directory that go commands share one after
// another, or at once.
type private struct {
	root  *os.Root
	lock  *os.File // nil: without a bound
	limit int64
	link  func(oldName, newName string) error
}

// openPrivate opens an upper layer, and refuses one that is of something else, or
// that has entries and no name.
func openPrivate(o Options) (*private, error) {
	root, err := os.OpenRoot(o.Upper)
	if err != nil {
		return nil, err
	}
	p := &private{root: root, limit: o.UpperBytes, link: root.Link}
	if o.UpperOf != "" {
		if err := p.own(o.UpperOf); err != nil {
			return nil, errors.Join(err, root.Close())
		}
	}
	if p.limit > 0 {
		if p.lock, err = root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
			return nil, errors.Join(fmt.Errorf("a layer with a limit must be writable: %w", err), root.Close())
		}
	}
	return p, nil
}

// own reads what the layer is of, or records it in a layer that is empty. Go
// commands that begin at once may all find it empty: the record appears complete
// or not at all, and each compares what is recorded in the end.
func (p *private) own(name string) error {
	for range maxOwnAttempts {
		// Before the record is read: entries that another go command stores meanwhile
		// came after its record.
		shards, err := p.shards()
		if err != nil {
			return err
		}
		had, err := p.root.ReadFile(ownerFile)
		switch {
		case err == nil && string(had) == name:
			return nil
		case err == nil:
			return fmt.Errorf("it is of %q, and this build is of %q: nothing that one builds is given to another, so each needs a volume of its own", had, name)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case len(shards) > 0:
			return fmt.Errorf("it has entries, and no file %s that names their branch: use an empty directory", ownerFile)
		}
		// Either error is due to another go command: it recorded its name first, or
		// removed the temporary file as one that was left over.
		if err := p.record(name); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("record the name of the branch: %w", err)
		}
	}
	return fmt.Errorf("file %s cannot be written: other go commands keep removing it", ownerFile)
}

// record writes what the layer is of into a complete file, unless there is one.
func (p *private) record(name string) error {
	temp := temporary + rand.Text()
	f, err := p.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(name)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = withoutLinks(p.link(temp, ownerFile))
	}
	if removeErr := p.root.Remove(temp); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// withoutLinks explains the error of link(2) on a file system without hard links:
// those of FAT and of some network shares report that it is not permitted, others
// that it is not supported.
func withoutLinks(err error) error {
	for _, unsupported := range []error{unix.EPERM, unix.ENOTSUP, unix.ENOSYS} {
		if errors.Is(err, unsupported) {
			return fmt.Errorf("--upper-of needs a file system with hard links, use a volume of another StorageClass, such as one of a block device: %w", err)
		}
	}
	return err
}

// begin removes what is above the limit, unless another go command uses the
// layer, and keeps others from removing anything until end.
func (p *private) begin() error {
	if p.lock == nil {
		return nil
	}
	if _, err := p.evict(); err != nil {
		return err
	}
	return unix.Flock(int(p.lock.Fd()), unix.LOCK_SH) //nolint:gosec // a descriptor
}

// end removes what is above the limit, unless another go command uses the layer.
// The go command of this process has ended its use.
func (p *private) end() (Removed, error) {
	if p.lock == nil {
		return Removed{}, nil
	}
	return p.evict()
}

func (p *private) close() error {
	err := p.root.Close()
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}

// evict removes the entries that were not used for the longest time, until the
// layer is within its limit, and what a go command that was killed has left.
func (p *private) evict() (r Removed, err error) {
	err = unix.Flock(int(p.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor
	if errors.Is(err, unix.EWOULDBLOCK) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Flock(int(p.lock.Fd()), unix.LOCK_UN)) }() //nolint:gosec // a descriptor
	if err := p.removeUnfinished(); err != nil {
		return r, err
	}
	actions, outputs, err := p.read()
	if err != nil {
		return r, err
	}
	// No entry is too young, whatever the clock of the file system is: none is in use.
	plan := buildcache.NewPlan(buildcache.Bounds{MaxSize: p.limit, MinAge: math.MinInt64}, time.Time{})
	for _, o := range outputs {
		plan.AddOutput(o.id, o.size, time.Time{})
	}
	for _, a := range actions {
		plan.AddAction(a.id, a.output, a.used)
	}
	plan.Decide()
	r = Removed{Ran: true, Entries: len(actions), Bytes: plan.Before() - plan.Bytes()}
	for _, a := range actions { // before their outputs
		if !plan.RemovesAction(a.id, a.used) {
			continue
		}
		if err := p.root.Remove(a.id.ActionPath()); err != nil {
			return Removed{}, err
		}
		r.Entries, r.Evicted = r.Entries-1, r.Evicted+1
	}
	for _, o := range outputs {
		if !plan.RemovesOutput(o.id, time.Time{}) {
			continue
		}
		if err := p.root.Remove(o.id.OutputPath()); err != nil {
			return Removed{}, err
		}
	}
	return r, nil
}

// removeUnfinished removes files that a go command which was killed was writing.
func (p *private) removeUnfinished() error {
	left, err := fs.Glob(p.root.FS(), temporary+"*")
	if err != nil {
		return err
	}
	for _, name := range left {
		// The record of what the layer is of is written without the lock, and its
		// temporary file may be gone by now.
		if err := p.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// shards are the names of the directories with entries.
func (p *private) shards() (all []string, err error) {
	names, err := fs.ReadDir(p.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if n.IsDir() && len(n.Name()) == 2 {
			all = append(all, n.Name())
		}
	}
	return all, nil
}

// An entry of the layer, and an output.
type (
	action struct {
		id, output buildcache.ID
		used       time.Time
	}
	output struct {
		id   buildcache.ID
		size int64
	}
)

// read returns all entries and outputs.
func (p *private) read() (actions []action, outputs []output, err error) {
	shards, err := p.shards()
	if err != nil {
		return nil, nil, err
	}
	for _, shard := range shards {
		files, err := fs.ReadDir(p.root.FS(), shard)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range files {
			if err := p.add(path.Join(shard, f.Name()), &actions, &outputs); err != nil {
				return nil, nil, err
			}
		}
	}
	return actions, outputs, nil
}

// add reads one file. An entry that cannot be read counts as one that was never
// used and has no output, so that it is removed first.
func (p *private) add(name string, actions *[]action, outputs *[]output) error {
	id, kind := buildcache.ParseName(path.Base(name))
	info, err := p.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	switch kind {
	case buildcache.Output:
		// A file uses blocks as units, and its entry is in one more.
		*outputs = append(*outputs, output{id, (info.Size() + 2*block - 1) / block * block})
	case buildcache.Action:
		a := action{id: id}
		if data, err := p.root.ReadFile(name); err == nil && info.Size() < block {
			if e, err := buildcache.ParseEntry(data); err == nil && e.Action == id {
				a.output, a.used = e.Output, info.ModTime()
			}
		}
		*actions = append(*actions, a)
	case buildcache.Other:
	}
	return nil
}
