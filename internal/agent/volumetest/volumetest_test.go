package volumetest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/volumetest"
	"gocache.dev/operator/internal/testing/tmpfs"
)

func TestCheckFindsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := volumetest.Check(dir); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("an empty volume: %v", err)
	}
	if err := volumetest.Write(dir); err != nil {
		t.Fatal(err)
	}
	r, err := volumetest.Check(dir)
	if err != nil || r.Files == 0 || r.CapacityBytes == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != r.Files {
		t.Fatalf("%d files, %v", len(files), err)
	}
	last := files[len(files)-1]
	data, err := os.ReadFile(last) //nolint:gosec // in a temporary directory
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1]++
	if err := os.WriteFile(last, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := volumetest.Check(dir); err == nil || !strings.Contains(err.Error(), last+" has other content") {
		t.Errorf("a changed file: %v", err)
	}
	// Written again, all is as it was.
	if err := volumetest.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := volumetest.Check(dir); err != nil {
		t.Error(err)
	}
	if err := volumetest.Write(last); err == nil {
		t.Error("a file is no volume")
	}
}

// TestWriteOnAFullVolume holds that files which could not be written are reported: a
// snapshot of them would prove nothing.
func TestWriteOnAFullVolume(t *testing.T) {
	dir := tmpfs.Mount(t, "size=1m")
	if err := volumetest.Write(dir); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("written: %v", err)
	}
}
