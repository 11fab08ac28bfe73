package cleanup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/cleanup"
	"gocache.dev/operator/internal/agent/warm"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity"
)

const applyVar = "GOCACHE_TEST_APPLY"

// TestMain is a cleanup in a process of its own, if the environment asks for it: one that
// can be killed.
func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(applyVar)
	if !ok {
		os.Exit(m.Run())
	}
	var o cleanup.Options
	err := json.Unmarshal([]byte(text), &o)
	o.Clock, o.Env, o.Stdout = time.Now, os.Environ(), io.Discard
	if err == nil {
		_, err = cleanup.Run(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// apply is the options' cleanup as a command.
func (v *volume) apply(o cleanup.Options) *exec.Cmd {
	v.t.Helper()
	text, err := json.Marshal(struct { // the options that another process can get
		Root, ModCache, BuildCache, Approved, Go, TerminationLog string
		MaxAge                                                   time.Duration
		AsOf                                                     time.Time
		Umask                                                    int
	}{o.Root, o.ModCache, o.BuildCache, o.Approved, o.Go, o.TerminationLog, o.MaxAge, o.AsOf, o.Umask})
	if err != nil {
		v.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.Command(self) //nolint:gosec // this test itself
	cmd.Env = append(v.Env(), applyVar+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

// A cleanup that is killed at any moment leaves intact caches that are as warm
// as before, and the next one ends what it began. GOCACHE_CAMPAIGN sets how
// often.
func TestKilled(t *testing.T) {
	rounds := 4
	if text := os.Getenv("GOCACHE_CAMPAIGN"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	took := time.Duration(0)
	ended := 0
	for round := range rounds {
		v := newVolume(t)
		o := v.options()
		plan := v.run(o)
		o.Approved, o.AsOf = plan.Plan.Digest, plan.Plan.AsOf
		cmd := v.apply(o)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round > 0 { // the first one is not killed, and measures how long it takes
			timer := time.AfterFunc(rand.N(took), func() { _ = cmd.Process.Kill() }) //nolint:gosec // any time will do
			defer timer.Stop()
		}
		err := cmd.Wait()
		if round == 0 {
			took = time.Since(began)
		}
		if err == nil {
			ended++
		}
		verdict, checkErr := integrity.Check(t.Context(), integrity.Options{ModCache: v.ModCache, BuildCache: v.BuildCache, Now: time.Now()})
		if checkErr != nil || verdict.Verdict != integrity.Intact {
			t.Fatalf("round %d: %s, %v: %+v", round, verdict.Verdict, checkErr, verdict.Examples)
		}
		if n, err := warm.Rebuild(t.Context(), warm.Options{Root: v.Root, ModCache: v.ModCache, BuildCache: v.BuildCache, Go: "go", Env: v.Env(), Clock: time.Now}, true); err != nil || n != 0 {
			t.Fatalf("round %d: %d packages would be compiled, %v", round, n, err)
		}
		o.Approved, o.AsOf = "", time.Time{}
		next := v.run(o)
		if next.Plan == nil {
			t.Fatalf("round %d: no plan: %+v", round, next)
		}
		o.Approved, o.AsOf = next.Plan.Digest, next.Plan.AsOf
		if done := v.run(o); done.Outcome != report.Applied || done.Proof.Result != report.Pass {
			t.Fatalf("round %d: the next one: %+v, %+v", round, done, done.Proof)
		}
		o.Approved, o.AsOf = "", time.Time{}
		if last := v.run(o); !last.Plan.Empty() {
			t.Errorf("round %d: still to go: %+v", round, last.Plan)
		}
	}
	t.Logf("%d cleanings, of which %d came to their end before they were killed; one takes %s", rounds, ended, took.Round(time.Millisecond))
}
