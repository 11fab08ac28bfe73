package manifest

import (
	"crypto/sha256"
	"errors"
	"io"

	"gocache.dev/operator/internal/domain/modsum"
)

// ChangeKind is how two manifests differ about one entry.
type ChangeKind string

// The kinds of change.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	// Changed content under the same name is the alarming one: names of module
	// versions and of outputs stand for exactly one content for ever.
	Changed ChangeKind = "changed"
	// Repacked is a zip of other bytes with the same contents.
	Repacked ChangeKind = "repacked"
	// Parts is a module version of which one side holds more than the other,
	// with nothing contradicting.
	Parts ChangeKind = "parts"
	// Rebuilt is an action with another output: a build that is not
	// reproducible, or an entry that was redirected.
	Rebuilt ChangeKind = "rebuilt"
)

// Change is one difference.
type Change struct {
	Kind ChangeKind `json:"change"`
	Key  string     `json:"key"`
	From string     `json:"from,omitempty"`
	To   string     `json:"to,omitempty"`
	// Was and Is are the records themselves; zero where there is none.
	Was Record `json:"-"`
	Is  Record `json:"-"`
}

// Comparison sums up the differences of two manifests.
type Comparison struct {
	// From and To are the digests of the manifests.
	From string `json:"from"`
	To   string `json:"to"`
	// Counts are how many changes of each kind there are.
	Counts map[ChangeKind]int `json:"counts"`
}

// Record is what the change is about: the newer one, if there is one.
func (c *Change) Record() *Record {
	if c.Kind == Removed {
		return &c.Was
	}
	return &c.Is
}

// Diff reads two manifests side by side and calls fn for each difference. It
// holds one record of each, however large they are.
func Diff(a, b *Reader, fn func(Change) error) error {
	left, right := cursor{in: a}, cursor{in: b}
	if err := errors.Join(left.next(), right.next()); err != nil {
		return err
	}
	for !left.done || !right.done {
		c := 0
		switch {
		case left.done:
			c = 1
		case right.done:
			c = -1
		default:
			c = order(&left.rec, &right.rec)
		}
		var (
			change  Change
			err     error
			differs = true
		)
		switch {
		case c < 0:
			change = Change{Kind: Removed, Key: left.rec.Key(), Was: left.rec}
			err = left.next()
		case c > 0:
			change = Change{Kind: Added, Key: right.rec.Key(), Is: right.rec}
			err = right.next()
		default:
			change, differs = compare(&left.rec, &right.rec)
			err = errors.Join(left.next(), right.next())
		}
		if err != nil {
			return err
		}
		if differs {
			if err := fn(change); err != nil {
				return err
			}
		}
	}
	return nil
}

type cursor struct {
	in   *Reader
	rec  Record
	done bool
}

func (c *cursor) next() (err error) {
	if c.done {
		return nil
	}
	c.rec, err = c.in.Next()
	if errors.Is(err, io.EOF) {
		c.done = true
		return nil
	}
	return err
}

// compare compares two records of the same key.
func compare(a, b *Record) (Change, bool) {
	if *a == *b {
		return Change{}, false
	}
	c := Change{Key: a.Key(), From: a.text(), To: b.text(), Was: *a, Is: *b}
	switch a.Kind {
	case Action:
		c.Kind = Rebuilt
	case Output, Executable:
		c.Kind = Changed
	case Module, Stored:
		c.Kind = compareModules(a, b)
	}
	return c, true
}

func (r *Record) text() string {
	line := r.append(nil)
	return string(line[:len(line)-1])
}

func compareModules(a, b *Record) ChangeKind {
	differ := func(x, y modsum.Sum) bool { return !x.IsZero() && !y.IsZero() && x != y }
	// A zip and an extracted directory of the same version have one sum.
	for _, pair := range [][2]modsum.Sum{{a.Zip, b.Zip}, {a.Dir, b.Dir}, {a.Zip, b.Dir}, {a.Dir, b.Zip}, {a.GoMod, b.GoMod}} {
		if differ(pair[0], pair[1]) {
			return Changed
		}
	}
	none := [sha256.Size]byte{}
	if a.Raw != none && b.Raw != none && a.Raw != b.Raw {
		return Repacked
	}
	return Parts
}
