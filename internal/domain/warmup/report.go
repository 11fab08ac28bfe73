package warmup

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gocache.dev/operator/internal/domain/report"
)

// The outcomes of a warm-up.
const (
	Succeeded = "Succeeded"
	Failed    = "Failed"
	// Corrupt: the go command was content, and the check of what it wrote was not.
	Corrupt = "Corrupt"
)

// ToolchainTooOld is the reason of a source that needs a newer Go release.
const ToolchainTooOld = "ToolchainTooOld"

// Report of a warm-up.
type Report struct {
	// Outcome is one of the constants above. A warm-up that was given sources fails
	// if nothing of any was built.
	Outcome string `json:"outcome"`
	// Message is one line: why it failed, unless the sources did, or what is worth
	// a look.
	Message string `json:"message,omitempty"`
	// Sources in the order in which they were given.
	Sources []SourceReport `json:"sources,omitempty"`
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
	// CorruptRemoved counts the files and directories that the check before the go
	// command found corrupt, and that were removed for it.
	CorruptRemoved int64 `json:"corruptRemoved,omitempty"`
}

// SourceReport is what became of one source.
type SourceReport struct {
	Name string `json:"name"`
	// Failed: it was not warmed, or only in part. Message explains why.
	Failed bool `json:"failed,omitempty"`
	// Reason of the failure for programs: [ToolchainTooOld], or empty.
	Reason string `json:"reason,omitempty"`
	// Message is one line: why it failed, with the end of the output of the go
	// command, or what is worth a look.
	Message string `json:"message,omitempty"`
	// Entries that the build cache gained.
	Entries int64 `json:"entries,omitempty"`
	// Seconds that it took.
	Seconds float64 `json:"seconds,omitempty"`
	// Builds that the source declares, in their order.
	Builds []BuildReport `json:"builds,omitempty"`
}

// BuildReport is what became of one build of a source.
type BuildReport struct {
	Name string `json:"name"`
	// Failed: some package was not built. Message explains why.
	Failed  bool   `json:"failed,omitempty"`
	Message string `json:"message,omitempty"`
	// Entries that the build cache gained.
	Entries int64 `json:"entries,omitempty"`
	// Seconds that it took.
	Seconds float64 `json:"seconds,omitempty"`
}

// FailedSources are the names of the sources that failed.
func (r Report) FailedSources() []string {
	var names []string
	for _, s := range r.Sources {
		if s.Failed {
			names = append(names, s.Name)
		}
	}
	return names
}

// Summary is the report's message with those of its sources, in one line: the
// failed sources first.
func (r Report) Summary() string {
	var failed, notes []string
	for _, s := range r.Sources {
		switch {
		case s.Failed:
			failed = append(failed, s.Name+": "+s.Message)
		case s.Message != "":
			notes = append(notes, s.Name+": "+s.Message)
		}
	}
	if r.Message != "" {
		notes = append([]string{r.Message}, notes...)
	}
	if len(failed) > 0 {
		failed[0] = fmt.Sprintf("%d of %d sources failed: %s", len(failed), len(r.Sources), failed[0])
	}
	return strings.Join(append(failed, notes...), "; ")
}

// Parse reads a report and refuses what cannot be one.
func Parse(data []byte) (Report, error) {
	var r Report
	if err := report.Decode(data, &r); err != nil {
		return Report{}, fmt.Errorf("no report of a warm-up: %w", err)
	}
	if n := len(r.ManifestDigest); n > report.MaxDigest {
		return Report{}, fmt.Errorf("no report of a warm-up: a digest of %d bytes", n)
	}
	switch r.Outcome {
	case Succeeded, Failed, Corrupt:
		return r, nil
	default:
		return Report{}, fmt.Errorf("no report of a warm-up: outcome %.40q", r.Outcome)
	}
}

// Fit is the report's JSON in at most limit bytes. Messages are truncated, the
// longest first, at their beginnings: the end of the output of the go command is
// the most useful.
func (r Report) Fit(limit int) []byte {
	r.Sources = slices.Clone(r.Sources)
	for i := range r.Sources {
		r.Sources[i].Builds = slices.Clone(r.Sources[i].Builds)
	}
	for {
		data, err := json.Marshal(r)
		if err == nil && len(data) <= limit {
			return data
		}
		longest := &r.Message
		for i := range r.Sources {
			if m := &r.Sources[i].Message; len(*m) > len(*longest) {
				longest = m
			}
			for j := range r.Sources[i].Builds {
				if m := &r.Sources[i].Builds[j].Message; len(*m) > len(*longest) {
					longest = m
				}
			}
		}
		most := r.mostBuilds()
		switch {
		case *longest != "":
			*longest = strings.ToValidUTF8((*longest)[max(len(*longest)/8, 1):], "")
		case most != nil:
			most.Builds = nil
		case len(r.Sources) > 0:
			r.Sources = nil
		default:
			return fmt.Appendf(nil, `{"outcome":%q}`, r.Outcome)
		}
	}
}

// mostBuilds is the source with the most builds; nil: none has any.
func (r Report) mostBuilds() (most *SourceReport) {
	for i := range r.Sources {
		if n := len(r.Sources[i].Builds); n > 0 && (most == nil || n > len(most.Builds)) {
			most = &r.Sources[i]
		}
	}
	return most
}

// OneLine joins the lines of an output: messages of conditions are one line.
// Progress that the go command prints is left out.
func OneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !strings.HasPrefix(line, "go: downloading ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " | ")
}
