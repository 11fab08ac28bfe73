package integrity

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Outcome is a verdict's value.
type Outcome string

// The three values of a verdict. Inconclusive never counts as good and never
// as bad.
const (
	Intact        Outcome = "Intact"
	Condemned     Outcome = "Corrupt"
	Inconclusive  Outcome = "Inconclusive"
	maxDetail             = 300
	maxPath               = 300
	maxExamples           = 64
	perClass              = 8
	messageMargin         = 1024
)

// TerminationLimit is how much of a termination log Kubernetes keeps, in bytes.
const TerminationLimit = 4096

// Verdict is the report of a check, as `gocache-agent verify` prints it.
type Verdict struct {
	Verdict Outcome `json:"verdict"`
	// Message says in a sentence why, for a person.
	Message string `json:"message,omitempty"`
	// Digest is the sha256 of the canonical manifest of what was found.
	Digest          string  `json:"digest,omitempty"`
	Bytes           int64   `json:"bytes"`
	DurationSeconds float64 `json:"durationSeconds"`
	Counts          Counts  `json:"counts"`
	// Torn, Wrong and Unknown count findings of these severities.
	Torn    int `json:"torn"`
	Wrong   int `json:"wrong"`
	Unknown int `json:"unknown"`
	// Findings counts what is torn, wrong or unknown, by class.
	Findings map[Class]int `json:"findings"`
	// Notes counts what is harmless, by class.
	Notes    map[Class]int `json:"notes,omitempty"`
	Examples []Example     `json:"examples"`
	// Withdrawn counts the findings that are gone since: what they name was
	// removed from a store, which then fetches it anew. WithdrawnExamples are some
	// of them.
	Withdrawn         int       `json:"withdrawn,omitempty"`
	WithdrawnExamples []Example `json:"withdrawnExamples,omitempty"`
	// Contained: the server gives nothing of what is wrong to any client.
	Contained bool       `json:"contained,omitempty"`
	Toolchain *Toolchain `json:"toolchain,omitempty"`
	// UsedBytes, CapacityBytes and AvailableBytes say how full the file system
	// is that holds the caches, when the check was told its root.
	UsedBytes      int64 `json:"usedBytes,omitempty"`
	CapacityBytes  int64 `json:"capacityBytes,omitempty"`
	AvailableBytes int64 `json:"availableBytes,omitempty"`
}

// Counts says how much was checked.
type Counts struct {
	Modules      int `json:"modules"` // module versions
	Zips         int `json:"zips"`
	Dirs         int `json:"dirs"` // extracted modules
	BuildEntries int `json:"buildEntries"`
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
	if err := json.Unmarshal(data, &v); err != nil {
		return Verdict{}, fmt.Errorf("no verdict: %w", err)
	}
	switch v.Verdict {
	case Intact:
		if v.Wrong != 0 || v.Unknown != 0 {
			return Verdict{}, fmt.Errorf("says Intact, with %d wrong and %d unknown findings", v.Wrong, v.Unknown)
		}
		if v.Digest == "" {
			return Verdict{}, errors.New("says Intact without a digest")
		}
	case Condemned:
		if v.Wrong == 0 && v.Torn == 0 {
			return Verdict{}, errors.New("says Corrupt without a finding")
		}
	case Inconclusive:
	default:
		return Verdict{}, fmt.Errorf("unknown verdict %.40q", v.Verdict)
	}
	return v, nil
}

// Fit is the verdict's JSON in at most limit bytes: the least telling examples
// go first, then all that is not needed to act on it. It is always valid JSON.
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

// clip cuts a text to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "..."
	cut := n - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// Summary is a sentence about what was found.
func (v *Verdict) Summary() string {
	text := v.summary()
	if v.Withdrawn > 0 {
		text += fmt.Sprintf("; withdrew %d damaged or contradictory entries, which are fetched anew when a client asks for them", v.Withdrawn)
	}
	return text
}

func (v *Verdict) summary() string {
	switch {
	case v.Wrong > 0:
		return fmt.Sprintf("%d wrong: %s", v.Wrong, list(v.Findings))
	case v.Unknown > 0:
		return fmt.Sprintf("%d could not be checked: %s", v.Unknown, list(v.Findings))
	case v.Torn > 0:
		return fmt.Sprintf("%d torn, which the go command heals by itself: %s", v.Torn, list(v.Findings))
	case v.Counts == Counts{}:
		return "the caches are empty"
	}
	return fmt.Sprintf("%d module versions and %d build entries hold what they should", v.Counts.Modules, v.Counts.BuildEntries)
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
