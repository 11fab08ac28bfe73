package integrity

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"gocache.dev/operator/internal/domain/report"
)

// Outcome is a verdict's value.
type Outcome string

// The three values of a verdict. Inconclusive never counts as good and never
// as bad.
const (
	Intact         Outcome = "Intact"
	OutcomeCorrupt Outcome = "Corrupt"
	Inconclusive   Outcome = "Inconclusive"
	maxDetail              = 300
	maxPath                = 300
	maxExamples            = 64
	perClass               = 8
	messageMargin          = 1024
)

// TerminationLimit is how much of a termination log Kubernetes keeps, in bytes.
const TerminationLimit = 4096

// Verdict is the report of a check, as `gocache-agent verify` prints it.
type Verdict struct {
	Verdict Outcome `json:"verdict"`
	// Message is the cause of the verdict, in a sentence.
	Message string `json:"message,omitempty"`
	// Digest is the sha256 of the canonical manifest of what was found.
	Digest          string  `json:"digest,omitempty"`
	Bytes           int64   `json:"bytes"`
	DurationSeconds float64 `json:"durationSeconds"`
	Counts          Counts  `json:"counts"`
	// Recoverable, Corrupt and Unreadable are the numbers of findings of these severities.
	Recoverable int `json:"recoverable"`
	Corrupt     int `json:"corrupt"`
	Unreadable  int `json:"unreadable"`
	// Findings is the number of findings of these severities by class.
	Findings map[Class]int `json:"findings"`
	// Notes is the number of harmless findings by class.
	Notes    map[Class]int `json:"notes,omitempty"`
	Examples []Example     `json:"examples"`
	// Withdrawn counts the findings that are gone since: what they name was
	// removed from a store, which then fetches it again. WithdrawnExamples are
	// some of them.
	Withdrawn         int       `json:"withdrawn,omitempty"`
	WithdrawnExamples []Example `json:"withdrawnExamples,omitempty"`
	// Contained: the server gives nothing of what is wrong to any client.
	Contained bool       `json:"contained,omitempty"`
	Toolchain *Toolchain `json:"toolchain,omitempty"`
	// UsedBytes, CapacityBytes and AvailableBytes describe the file system that
	// holds the caches, if the check was given its root.
	UsedBytes      int64 `json:"usedBytes,omitempty"`
	CapacityBytes  int64 `json:"capacityBytes,omitempty"`
	AvailableBytes int64 `json:"availableBytes,omitempty"`
	// TreeBytes are what the files of the volume take: less than UsedBytes where the
	// file system is shared with others. Inodes is how many files and directories the
	// file system can hold, and InodesUsed how many it holds; 0: it has no limit.
	TreeBytes  int64 `json:"treeBytes,omitempty"`
	Inodes     int64 `json:"inodes,omitempty"`
	InodesUsed int64 `json:"inodesUsed,omitempty"`
}

// Counts is how much was checked.
type Counts struct {
	Modules      int `json:"modules"` // module versions
	Zips         int `json:"zips"`
	Dirs         int `json:"dirs"` // extracted modules
	BuildEntries int `json:"buildEntries"`
	// Content counts the module versions with a zip or an extracted module, and
	// Proven those of them whose content trust data name.
	Content int `json:"content,omitempty"`
	Proven  int `json:"proven,omitempty"`
	// Sealed counts the entries of the build cache that are as the last writer left
	// them.
	Sealed int `json:"sealed,omitempty"`
	// Raw counts the zips that were only compared with an earlier manifest.
	Raw int `json:"raw,omitempty"`
}

// Example is a finding in a verdict.
type Example struct {
	Class    Class  `json:"class"`
	Severity string `json:"severity"`
	Cache    Cache  `json:"cache"`
	Path     string `json:"path"`
	Detail   string `json:"detail"`
}

// Toolchain is what the writer of the caches recorded about its go command.
type Toolchain struct {
	GoVersion     string `json:"goVersion"`
	GoSHA256      string `json:"goSHA256"`
	CompileSHA256 string `json:"compileSHA256"`
	GOOS          string `json:"goos"`
	GOARCH        string `json:"goarch"`
	GOFLAGS       string `json:"goflags"`
	CGOEnabled    string `json:"cgoEnabled"`
}

// ParseVerdict reads a verdict. It refuses what contradicts itself: a report
// that is damaged must not pass for a good one.
func ParseVerdict(data []byte) (Verdict, error) {
	var v Verdict
	if err := report.Decode(data, &v); err != nil {
		return Verdict{}, fmt.Errorf("no verdict: %w", err)
	}
	if n := len(v.Digest); n > report.MaxDigest {
		return Verdict{}, fmt.Errorf("no verdict: a digest of %d bytes", n)
	}
	switch v.Verdict {
	case Intact:
		if v.Corrupt != 0 || v.Unreadable != 0 {
			return Verdict{}, fmt.Errorf("verdict Intact with %d corrupt and %d unreadable findings", v.Corrupt, v.Unreadable)
		}
		if v.Digest == "" {
			return Verdict{}, errors.New("verdict Intact without a digest")
		}
	case OutcomeCorrupt:
		if v.Corrupt == 0 && v.Recoverable == 0 {
			return Verdict{}, errors.New("verdict Corrupt without a finding")
		}
	case Inconclusive:
	default:
		return Verdict{}, fmt.Errorf("unknown verdict %.40q", v.Verdict)
	}
	return v, nil
}

// Fit is the verdict's JSON in at most limit bytes: the least significant
// examples are dropped first, then all that is not needed to act on it. It is
// always valid JSON.
func (v Verdict) Fit(limit int) []byte {
	v.Examples, v.WithdrawnExamples = slices.Clone(v.Examples), slices.Clone(v.WithdrawnExamples)
	for {
		data, err := json.Marshal(v)
		if err == nil && len(data) <= limit {
			return data
		}
		switch {
		case err != nil:
			v = Verdict{Verdict: Inconclusive, Message: "the verdict could not be written: " + err.Error()}
		case len(v.Examples) > 0:
			v.Examples = v.Examples[:len(v.Examples)-1]
		case len(v.WithdrawnExamples) > 0:
			v.WithdrawnExamples = v.WithdrawnExamples[:len(v.WithdrawnExamples)-1]
		case len(v.Message) > messageMargin:
			v.Message = clip(v.Message, messageMargin)
		case v.Toolchain != nil:
			v.Toolchain = nil
		case len(v.Notes) > 0:
			v.Notes = nil
		default:
			return fmt.Appendf(nil, `{"verdict":%q}`, v.Verdict)
		}
	}
}

// clip truncates a text to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "..."
	end := n - len(more)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}

// Summary is a sentence about what was found.
func (v *Verdict) Summary() string {
	text := v.summary()
	if n := v.Notes[TrustConflict]; n > 0 {
		text += fmt.Sprintf("; trust data contradicts itself %d times: see the %s among the examples", n, TrustConflict)
	}
	if v.Withdrawn > 0 {
		text += fmt.Sprintf("; withdrew %d corrupt or contradictory entries, which are fetched again when a client requests them", v.Withdrawn)
	}
	return text
}

func (v *Verdict) summary() string {
	switch {
	case v.Corrupt > 0:
		return fmt.Sprintf("%d corrupt: %s", v.Corrupt, list(v.Findings))
	case v.Unreadable > 0 && v.Findings[Unsealed] == v.Unreadable:
		return fmt.Sprintf("%d entries are not what the last writer left; the next writer removes them", v.Unreadable)
	case v.Unreadable > 0 && v.Findings[Unverifiable] == v.Unreadable:
		return fmt.Sprintf("%d of %d module versions are named by no trust data: add the go.sum files that name them, or set trust.coverage to Partial", v.Unreadable, v.Counts.Content)
	case v.Unreadable > 0:
		return fmt.Sprintf("%d unreadable: %s", v.Unreadable, list(v.Findings))
	case v.Recoverable > 0:
		return fmt.Sprintf("%d recoverable, which the go command creates again: %s", v.Recoverable, list(v.Findings))
	case v.Counts == Counts{}:
		return "the caches are empty"
	}
	return fmt.Sprintf("%d module versions and %d build entries are intact", v.Counts.Modules, v.Counts.BuildEntries)
}

func list(counts map[Class]int) string {
	s := ""
	for _, c := range slices.Sorted(maps.Keys(counts)) {
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf("%s %d", c, counts[c])
	}
	return s
}
