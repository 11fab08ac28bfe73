package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// Report is the environment variable that names the file to which suites add
// a line of JSON for what they declare, and one for each flow that they ran.
const Report = "CRASH_POINTS_REPORT"

// Every is the environment variable that makes a run a sample: only every
// so-many-th write of a flow, another one for each flow, is a crash point.
// Unset: each is.
const Every = "CRASH_POINTS_EVERY"

// Reported is a line of the report.
type Reported struct {
	// Suite that wrote the line.
	Suite string `json:"suite"`
	// Declared flows of the suite; reported once, before any is run.
	Declared []string `json:"declared,omitempty"`
	// Flow that was run, with the writes of its undisturbed run, the deaths
	// before and after one, and the writes at which one of both failed.
	Flow   string `json:"flow,omitempty"`
	Writes int    `json:"writes,omitempty"`
	Before int    `json:"before,omitempty"`
	After  int    `json:"after,omitempty"`
	Failed int    `json:"failed,omitempty"`
}

// print adds a line to the report. The suites of several packages write to it:
// one short write to a file opened for appending is complete.
func print(t *testing.T, line Reported) {
	t.Helper()
	name := os.Getenv(Report)
	if name == "" {
		return
	}
	text, err := json.Marshal(line)
	if err != nil {
		t.Errorf("report: %v", err)
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // named by who runs the tests
	if err != nil {
		t.Errorf("report: %v", err)
		return
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		t.Errorf("report: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("report: %v", err)
	}
}

// Name of the flow among those of all suites.
func (c Reported) Name() string { return c.Suite + "/" + c.Flow }

// String is the line that a person reads.
func (c Reported) String() string {
	return fmt.Sprintf("%s: %d writes recorded, %d points run before and %d after, %d failed", c.Name(), c.Writes, c.Before, c.After, c.Failed)
}
