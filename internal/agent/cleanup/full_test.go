package cleanup_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/testing/tmpfs"
)

// A volume without any room left is cleaned: that is when it is needed most.
func TestFullVolume(t *testing.T) {
	dir := tmpfs.Mount(t, "size=512m")
	temp := os.Getenv("TMPDIR")
	t.Setenv("TMPDIR", dir)
	v := newVolume(t)
	t.Setenv("TMPDIR", temp)
	o := v.options()
	o.TerminationLog = filepath.Join(t.TempDir(), "log")

	filler, err := os.Create(filepath.Join(v.Root, "filler")) //nolint:gosec // of the test's tree
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0 && err == nil; {
		if _, err = filler.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size, err = size/2, nil
		}
	}
	if err := errors.Join(err, filler.Close()); err != nil {
		t.Fatal(err)
	}

	plan := v.run(o)
	if plan.Outcome != report.Planned || plan.AvailableBytes != 0 || plan.Plan.Bytes == 0 || plan.Plan.Modules.Entries == 0 {
		t.Fatalf("%+v, %+v", plan, plan.Plan)
	}
	o.Approved, o.AsOf = plan.Plan.Digest, plan.Plan.AsOf
	done := v.run(o)
	if done.Outcome != report.Applied || done.Proof.Result != report.Pass || done.AvailableBytes < plan.Plan.Bytes*9/10 {
		t.Fatalf("%+v, %+v", done, done.Proof)
	}
	v.check()
	o.Approved, o.AsOf = "", time.Time{}
	if r := v.run(o); !r.Plan.Empty() {
		t.Errorf("still to go: %+v", r.Plan)
	}
}
