package drill

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The outcomes of a drill.
const (
	Succeeded = "Succeeded"
	// Failed: the cache, with this program, does not do.
	Failed = "Failed"
	// Inconclusive: something else was in the way, such as a full disk.
	Inconclusive = "Inconclusive"
)

// Report of a drill.
type Report struct {
	// Outcome is one of the constants above.
	Outcome string `json:"outcome"`
	// Step that failed, such as "go build".
	Step string `json:"step,omitempty"`
	// Message says why: the last lines of the go command.
	Message string `json:"message,omitempty"`
	// Modules that the program was built from, each compared with go.mod.
	Modules int64 `json:"modules"`
	// DurationSeconds of the run.
	DurationSeconds float64 `json:"durationSeconds"`
}

// Parse reads a report and refuses what cannot be one.
func Parse(data []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, fmt.Errorf("no report of a drill: %w", err)
	}
	switch r.Outcome {
	case Succeeded, Failed, Inconclusive:
		return r, nil
	default:
		return Report{}, fmt.Errorf("no report of a drill: outcome %.40q", r.Outcome)
	}
}

// Fit is the report's JSON in at most limit bytes. The message is cut at its
// beginning: the end of what the go command said tells most.
func (r Report) Fit(limit int) []byte {
	for {
		data, err := json.Marshal(r)
		if err == nil && len(data) <= limit {
			return data
		}
		if r.Message == "" {
			return fmt.Appendf(nil, `{"outcome":%q}`, r.Outcome)
		}
		cut := max(len(r.Message)/8, 1)
		r.Message = strings.ToValidUTF8(r.Message[cut:], "")
	}
}
