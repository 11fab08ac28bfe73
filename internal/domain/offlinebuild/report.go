package offlinebuild

import (
	"encoding/json"
	"fmt"
	"strings"

	"gocache.dev/operator/internal/domain/report"
)

// The outcomes of a test.
const (
	Succeeded = "Succeeded"
	// Failed: the program cannot be built from the cache.
	Failed = "Failed"
	// Inconclusive: something else was in the way, such as a full disk.
	Inconclusive = "Inconclusive"
)

// Report of a test.
type Report struct {
	// Outcome is one of the constants above.
	Outcome string `json:"outcome"`
	// Step that failed, such as "go build".
	Step string `json:"step,omitempty"`
	// Message is the cause: the last lines of the output of the go command.
	Message string `json:"message,omitempty"`
	// Modules that the program was built from, each compared with go.mod.
	Modules int64 `json:"modules"`
	// DurationSeconds of the run.
	DurationSeconds float64 `json:"durationSeconds"`
}

// Parse reads a report and refuses what cannot be one.
func Parse(data []byte) (Report, error) {
	var r Report
	if err := report.Decode(data, &r); err != nil {
		return Report{}, fmt.Errorf("no report of an offline build test: %w", err)
	}
	switch r.Outcome {
	case Succeeded, Failed, Inconclusive:
		return r, nil
	default:
		return Report{}, fmt.Errorf("no report of an offline build test: outcome %.40q", r.Outcome)
	}
}

// Fit is the report's JSON in at most limit bytes. The message is truncated at
// its beginning: the end of the output of the go command is the most useful.
func (r Report) Fit(limit int) []byte {
	for {
		data, err := json.Marshal(r)
		if err == nil && len(data) <= limit {
			return data
		}
		if r.Message == "" {
			return fmt.Appendf(nil, `{"outcome":%q}`, r.Outcome)
		}
		excess := max(len(r.Message)/8, 1)
		r.Message = strings.ToValidUTF8(r.Message[excess:], "")
	}
}
