package integrity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
)

// stage is a check in a process of its own, for what a test cannot do to the
// process it runs in: give up root's powers, or mount something.
type stage struct {
	ModCache, BuildCache, Store, Layout string
	// Each of these files fails each read with EIO, one after the other: a
	// verdict is returned for each.
	Failing []string
	// Image is a file system that is mounted at Mount, and then loses all but
	// the first Left bytes of its device.
	Image, Mount string
	Left         int64
}

const stageVar = "GOCACHE_TEST_STAGE"

// errSkip marks what this machine does not let a test do.
var errSkip = errors.New("not possible here")

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(stageVar)
	if !ok {
		os.Exit(m.Run())
	}
	var s stage
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.play()
	}
	if errors.Is(err, errSkip) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(77)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// play runs the checks and prints a verdict for each.
func (s *stage) play() error {
	check := func() error {
		v, err := integrity.Check(context.Background(), integrity.Options{
			ModCache: s.ModCache, BuildCache: s.BuildCache, Store: s.Store, Layout: s.Layout,
			Now: time.Now(), Settle: time.Millisecond,
		})
		if err != nil { // as the agent reports it
			v = integrity.Verdict{Verdict: integrity.Inconclusive, Message: err.Error()}
		}
		return json.NewEncoder(os.Stdout).Encode(v)
	}
	switch {
	case s.Image != "":
		return s.onDyingDevice(check)
	case len(s.Failing) > 0:
		return s.withFailingFiles(check)
	}
	return check()
}

// perform runs the stage in a process that cmd was prepared for.
func (s stage) perform(t *testing.T, prepare func(*exec.Cmd)) []integrity.Verdict {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe") // this test itself
	cmd.Env = append(os.Environ(), stageVar+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	prepare(cmd)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 77:
		t.Skip(stderr.String())
	case errors.Is(err, os.ErrPermission):
		t.Skipf("no namespaces of one's own here: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var verdicts []integrity.Verdict
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var v integrity.Verdict
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}
