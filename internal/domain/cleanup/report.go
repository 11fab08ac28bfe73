package cleanup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/internal/domain/report"
)

// Outcome of a run.
type Outcome string

// The outcomes.
const (
	// Planned: all checks passed, and the report contains the plan.
	Planned Outcome = "Planned"
	// Paused: a check did not pass. Nothing was removed.
	Paused Outcome = "Paused"
	// Changed: the plan is not the approved one. Nothing was removed; the
	// report contains the present plan.
	Changed Outcome = "Changed"
	// Applied: the planned entries were removed, and the rest is intact.
	Applied Outcome = "Applied"
	// Corrupt: the plan was applied, and the check afterwards found corrupt
	// content.
	Corrupt Outcome = "Corrupt"
	// Failed: it could not be done; some of it may be gone.
	Failed Outcome = "Failed"
)

// Result of one check.
type Result string

// The results.
const (
	Pass Result = "Passed"
	Fail Result = "Failed"
	// Unknown: there is no result, which does not count as passed.
	Unknown Result = "Unknown"
)

// The names of the preflight checks, in their order.
const (
	// Ownership: the process owns the files and can remove them.
	Ownership = "ownership"
	// Index: the caches are laid out as the go command lays them out.
	Index = "index"
	// Reuse: repeating the last warm-up's builds would compile nothing, so the
	// cache works and the record of its use can be relied upon.
	Reuse = "reuse"
)

// Check is one check and how it came out.
type Check struct {
	Name    string `json:"name"`
	Result  Result `json:"result"`
	Message string `json:"message,omitempty"`
}

// Layer is what would go, or went, of one cache.
type Layer struct {
	// Entries are action entries of a build cache, versions of a module cache.
	Entries int64 `json:"entries"`
	// Outputs of a build cache that no entry would name any more.
	Outputs int64 `json:"outputs,omitempty"`
	Bytes   int64 `json:"bytes"`
	// BeforeBytes is the size of the cache before.
	BeforeBytes int64 `json:"beforeBytes"`
	// Oldest and Newest are the times of last use of the entries that would go.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
}

// Plan is what would go.
type Plan struct {
	// Digest names exactly this set of entries: sha256 over their sorted list.
	Digest string `json:"digest"`
	// AsOf is the time that ages are measured against.
	AsOf    time.Time `json:"asOf"`
	Entries int64     `json:"entries"`
	Bytes   int64     `json:"bytes"`
	Modules *Layer    `json:"modules,omitempty"`
	Build   *Layer    `json:"build,omitempty"`
	// OverBytes is by how much what the last warm-up used exceeds the bound of
	// size by itself: no cleanup can reach it.
	OverBytes int64 `json:"overBytes,omitempty"`
}

// Empty reports whether nothing would be removed.
func (p *Plan) Empty() bool { return p.Entries == 0 && p.Bytes == 0 }

// Proof is how a repetition of the last warm-up's builds went, offline.
type Proof struct {
	Result Result `json:"result"`
	// Compiled counts compilations. A warm cache needs none.
	Compiled int64  `json:"compiled"`
	Message  string `json:"message,omitempty"`
}

// Report of a run.
type Report struct {
	Outcome Outcome `json:"outcome"`
	// Message is why it is not Planned or Applied.
	Message   string  `json:"message,omitempty"`
	Preflight []Check `json:"preflight,omitempty"`
	Plan      *Plan   `json:"plan,omitempty"`
	// RemovedEntries and FreedBytes are what went.
	RemovedEntries int64 `json:"removedEntries,omitempty"`
	FreedBytes     int64 `json:"freedBytes,omitempty"`
	// Proof after the removal.
	Proof *Proof `json:"proof,omitempty"`
	// Modules and BuildEntries count what is left.
	Modules      int64 `json:"modules,omitempty"`
	BuildEntries int64 `json:"buildEntries,omitempty"`
	// UsedBytes by the caches, CapacityBytes of their file system.
	UsedBytes     int64 `json:"usedBytes"`
	CapacityBytes int64 `json:"capacityBytes"`
	// AvailableBytes are what the writer may still use of it.
	AvailableBytes int64 `json:"availableBytes,omitempty"`
	// TreeBytes are what the files of the volume take: less than UsedBytes where the
	// file system is shared with others. Inodes is how many files and directories the
	// file system can hold, and InodesUsed how many it holds; 0: it has no limit.
	TreeBytes  int64 `json:"treeBytes,omitempty"`
	Inodes     int64 `json:"inodes,omitempty"`
	InodesUsed int64 `json:"inodesUsed,omitempty"`
	// DurationSeconds of the run.
	DurationSeconds float64 `json:"durationSeconds"`
	// ManifestDigest is the digest of the manifest that was left on the volume.
	ManifestDigest string `json:"manifestDigest,omitempty"`
}

// Parse reads a report and refuses what cannot be one.
func Parse(data []byte) (Report, error) {
	var r Report
	if err := report.Decode(data, &r); err != nil {
		return Report{}, fmt.Errorf("no report of a cleanup: %w", err)
	}
	if err := r.validate(); err != nil {
		return Report{}, fmt.Errorf("no report of a cleanup: %w", err)
	}
	return r, nil
}

func (r *Report) validate() error {
	if n := len(r.ManifestDigest); n > report.MaxDigest {
		return fmt.Errorf("a manifest digest of %d bytes", n)
	}
	if r.Plan != nil && len(r.Plan.Digest) > report.MaxDigest {
		return fmt.Errorf("a plan with a digest of %d bytes", len(r.Plan.Digest))
	}
	switch r.Outcome {
	case Planned, Changed:
		if r.Plan == nil || r.Plan.Digest == "" || r.Plan.AsOf.IsZero() {
			return fmt.Errorf("%s without a plan", r.Outcome)
		}
	case Applied:
		if r.ManifestDigest == "" || r.Proof == nil {
			return errors.New("applied without a manifest and a proof")
		}
	case Paused:
		if r.Failing() == nil {
			return errors.New("paused though all checks passed")
		}
	case Corrupt, Failed:
	default:
		return fmt.Errorf("outcome %.40q", r.Outcome)
	}
	return nil
}

// Failing is the first check that did not pass.
func (r *Report) Failing() *Check {
	for i := range r.Preflight {
		if r.Preflight[i].Result != Pass {
			return &r.Preflight[i]
		}
	}
	return nil
}

// Fit is the report's JSON in at most limit bytes: messages are truncated at
// their ends until it fits.
func (r Report) Fit(limit int) []byte {
	for most := limit; most > 0; most /= 2 {
		r.excess(most)
		if data, err := json.Marshal(r); err == nil && len(data) <= limit {
			return data
		}
	}
	return fmt.Appendf(nil, `{"outcome":%q}`, Failed)
}

func (r *Report) excess(most int) {
	excess := func(s string) string {
		if len(s) > most {
			s = strings.ToValidUTF8(s[:most], "")
		}
		return s
	}
	r.Message = excess(r.Message)
	checks := make([]Check, 0, len(r.Preflight))
	for _, c := range r.Preflight {
		c.Message = excess(c.Message)
		checks = append(checks, c)
	}
	r.Preflight = checks
	if r.Proof != nil {
		p := *r.Proof
		p.Message = excess(p.Message)
		r.Proof = &p
	}
}
