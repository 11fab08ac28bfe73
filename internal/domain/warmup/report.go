package warmup

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The outcomes of a warm-up.
const (
	Succeeded = "Succeeded"
	Failed    = "Failed"
	// Corrupt: the go command was content, and the check of what it wrote was not.
	Corrupt = "Corrupt"
)

// Report of a warm-up.
type Report struct {
	// Outcome is one of the constants above.
	Outcome string `json:"outcome"`
	// Message is why it failed: the last lines of the output of the go command.
	Message string `json:"message,omitempty"`
	// GoVersion is what go version prints after its own name, such as
	// "go1.26.8 linux/amd64".
	GoVersion string `json:"goVersion,omitempty"`
	// GoSHA256 and CompileSHA256 are hex digests of the go command and the compiler.
	GoSHA256      string `json:"goSHA256,omitempty"`
	CompileSHA256 string `json:"compileSHA256,omitempty"`
	// GoFlags and CGOEnabled are GOFLAGS and CGO_ENABLED of the go command.
	GoFlags    string `json:"goFlags,omitempty"`
	CGOEnabled string `json:"cgoEnabled,omitempty"`
	// Modules and BuildEntries count what the caches hold.
	Modules      int64 `json:"modules"`
	BuildEntries int64 `json:"buildEntries"`
	// UsedBytes by the caches, CapacityBytes of their file system.
	UsedBytes     int64 `json:"usedBytes"`
	CapacityBytes int64 `json:"capacityBytes"`
	// AvailableBytes are what the writer may still use of it.
	AvailableBytes int64 `json:"availableBytes,omitempty"`
	// DurationSeconds of the run.
	DurationSeconds float64 `json:"durationSeconds"`
	// ManifestDigest is the digest of the manifest that was left on the volume.
	ManifestDigest string `json:"manifestDigest,omitempty"`
}

// Parse reads a report and refuses what cannot be one.
func Parse(data []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, fmt.Errorf("no report of a warm-up: %w", err)
	}
	switch r.Outcome {
	case Succeeded, Failed, Corrupt:
		return r, nil
	default:
		return Report{}, fmt.Errorf("no report of a warm-up: outcome %.40q", r.Outcome)
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
