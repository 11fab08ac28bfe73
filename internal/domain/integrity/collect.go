package integrity

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Progress counts work as it is done; it may be read meanwhile.
type Progress struct {
	Bytes atomic.Int64
	Done  atomic.Int64 // module versions and build entries
	stage atomic.Pointer[stage]
}

// stage is the check of one cache.
type stage struct {
	cache Cache
	total int64
	part  atomic.Int64
}

// At is the cache that is being checked, and what part of it is done: 0 to 1.
func (p *Progress) At() (Cache, float64) {
	s := p.stage.Load()
	if s == nil || s.total == 0 {
		return "", 0
	}
	return s.cache, min(float64(s.part.Load())/float64(s.total), 1)
}

// begin starts a cache that so much is to do for, in any unit.
func (p *Progress) begin(c Cache, total int64) { p.stage.Store(&stage{cache: c, total: total}) }

// step ends a part of it.
func (p *Progress) step(part int64) {
	if s := p.stage.Load(); s != nil {
		s.part.Add(part)
	}
}

// effort is what a version costs, in bytes of its zip: each file costs something
// besides.
func effort(zipSize int64) int64 { return zipSize + 50_000 }

// collector gathers findings from all workers. It keeps a bounded number of
// examples however many findings there are.
type collector struct {
	mu       sync.Mutex
	severity [SeverityCorrupt + 1]int
	findings map[Class]int
	notes    map[Class]int
	kept     map[Class]int
	examples []Finding
	observe  func(Finding)
	// refused counts the wrong findings that reach no client.
	refused   int
	withdrawn int
	gone      []Finding
}

func newCollector(observe func(Finding)) *collector {
	return &collector{findings: map[Class]int{}, notes: map[Class]int{}, kept: map[Class]int{}, observe: observe}
}

func (c *collector) add(fs ...Finding) {
	if len(fs) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range fs {
		c.severity[f.Severity]++
		if f.Severity == SeverityCorrupt && f.Refused {
			c.refused++
		}
		if f.Severity == Note {
			c.notes[f.Class]++
		} else {
			c.findings[f.Class]++
		}
		if c.observe != nil {
			c.observe(f)
		}
		key := f.Class + Class(f.Severity.String())
		if c.kept[key] < perClass && len(c.examples) < maxExamples {
			c.kept[key]++
			c.examples = append(c.examples, f)
		}
	}
}

// withdrew takes up what was found and is gone.
func (c *collector) withdrew(fs ...Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range fs {
		c.withdrawn++
		// A contradiction to trust data must be among the examples.
		if f.Class == ChecksumMismatch {
			c.gone = slices.Insert(c.gone, 0, f)
		} else {
			c.gone = append(c.gone, f)
		}
		c.gone = c.gone[:min(len(c.gone), perClass)]
	}
}

func (c *collector) verdict(failOn Severity) Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := Verdict{
		Recoverable: c.severity[Recoverable], Corrupt: c.severity[SeverityCorrupt], Unreadable: c.severity[SeverityUnreadable],
		Findings: c.findings, Notes: c.notes, Examples: []Example{},
	}
	switch {
	case v.Corrupt > 0, failOn == Recoverable && v.Recoverable > 0:
		v.Verdict = OutcomeCorrupt
	case v.Unreadable > 0:
		v.Verdict = Inconclusive
	default:
		v.Verdict = Intact
	}
	slices.SortFunc(c.examples, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(string(a.Class), string(b.Class)), strings.Compare(a.Path, b.Path))
	})
	for _, f := range c.examples {
		v.Examples = append(v.Examples, f.example())
	}
	v.Withdrawn = c.withdrawn
	for _, f := range c.gone {
		v.WithdrawnExamples = append(v.WithdrawnExamples, f.example())
	}
	v.Contained = v.Corrupt > 0 && v.Corrupt == c.refused
	v.Message = v.Summary()
	return v
}

func (f *Finding) example() Example {
	return Example{f.Class, f.Severity.String(), f.Cache, Printable(f.Path, maxPath), Printable(f.Detail, maxDetail)}
}

// Printable keeps what a hostile name could do to a terminal or a log out of
// it, and its length bounded.
func Printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return clip(s, n)
}
