package reflinkcsi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/faults"
	"gocache.dev/operator/hack/devcluster/internal/lazyfile"
)

// kind is what an image is.
type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
	// attachments are not images: see pool.attached.
	attachments kind = "attachments"
)

// record is what is known about an image; it lies beside it and is written
// after it: an image without a record does not exist.
type record struct {
	ID string `json:"id"`
	// Source is the id that it was made from: a snapshot's volume,
	// or "snapshots/…" or "volumes/…" for a volume with a content source.
	Source string `json:"source,omitempty"`
	// Bytes is the size it has been promised.
	Bytes int64 `json:"bytes"`
	// Formatted is the size of the file system in it, which grows to Bytes when the
	// volume is mounted.
	Formatted int64 `json:"formatted"`
	// Topology are the segments where it can be used; none means everywhere.
	Topology map[string]string `json:"topology,omitempty"`
	Created  time.Time         `json:"created"`
	// Lazy is the fault that a volume was restored under: each chunk of it is loaded when it is
	// first read, which takes so long.
	Lazy faults.Duration `json:"lazy,omitzero"`
	// NeverReady, ReadyAt and SizeUnknown are the faults that a snapshot was made under.
	NeverReady  bool      `json:"neverReady,omitempty"`
	ReadyAt     time.Time `json:"readyAt,omitzero"`
	SizeUnknown bool      `json:"sizeUnknown,omitempty"`
}

// pool is the folder that holds all images.
type pool struct{ dir string }

// errNotFound means that there is no image with an id.
var errNotFound = errors.New("not found")

// idRE keeps ids from leaving the pool.
var idRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)

func newPool(dir string) (pool, error) {
	for _, k := range []kind{volumes, snapshots, attachments} {
		if err := os.MkdirAll(filepath.Join(dir, string(k)), 0o700); err != nil {
			return pool{}, err
		}
	}
	return pool{dir: dir}, nil
}

func (p pool) image(k kind, id string) string { return filepath.Join(p.dir, string(k), id+".img") }
func (p pool) record(k kind, id string) string {
	return filepath.Join(p.dir, string(k), id+".json")
}

func (p pool) load(k kind, id string) (record, error) {
	var r record
	if !idRE.MatchString(id) {
		return r, fmt.Errorf("%s %q: %w", k, id, errNotFound)
	}
	b, err := os.ReadFile(p.record(k, id))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s %q: %w", k, id, errNotFound)
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", p.record(k, id), err)
	}
	return r, nil
}

func (p pool) save(k kind, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return cluster.WriteFile(p.record(k, r.ID), b, 0o600)
}

// remove is done when nothing is left: removing twice is no error.
func (p pool) remove(k kind, id string) error {
	if !idRE.MatchString(id) {
		return nil
	}
	for _, file := range []string{p.record(k, id), p.image(k, id), lazyfile.StateOf(p.image(k, id))} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// list returns all records of a kind, by id.
func (p pool) list(k kind) ([]record, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, string(k)))
	if err != nil {
		return nil, err
	}
	var out []record
	for _, e := range entries {
		id, isRecord := strings.CutSuffix(e.Name(), ".json")
		if !isRecord {
			continue
		}
		r, err := p.load(k, id)
		if errors.Is(err, errNotFound) {
			continue // removed since
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b record) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// free is how much more can be written to the pool.
func (p pool) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", p.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // no file system is that large
}
