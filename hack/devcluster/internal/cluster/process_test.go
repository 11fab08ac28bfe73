package cluster

import (
	"errors"
	"io/fs"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func start(t *testing.T) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	p, err := FindProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func TestKillEndsThisProcess(t *testing.T) {
	t.Parallel()
	cmd, p := start(t)
	if !p.Alive() {
		t.Fatal("it should be alive")
	}
	if err := p.Kill(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("it is still alive")
	}
	_ = cmd.Wait() // an error: it was killed
	if err := p.Kill(time.Second); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestKillSparesAnotherProcessOfTheSameNumber(t *testing.T) {
	t.Parallel()
	_, p := start(t)
	for name, other := range map[string]Process{
		"started later": {PID: p.PID, StartTicks: p.StartTicks - 1, BootID: p.BootID},
		"earlier boot":  {PID: p.PID, StartTicks: p.StartTicks, BootID: "other"},
		"none":          {},
	} {
		if other.Alive() {
			t.Errorf("%s: alive", name)
		}
		if err := other.Kill(time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !p.Alive() {
		t.Error("the process was killed by mistake")
	}
}

func TestRecordIsReadAsItWasSaved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no record: got %v", err)
	}
	want := Record{
		Spec: Spec{Name: "x", StateDir: dir, Index: 3}.WithDefaults(), BinDir: "/bin",
		Init: Process{PID: 7, StartTicks: 9, BootID: "b"},
	}
	if err := want.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
