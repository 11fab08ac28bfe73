package csicheck

import "gocache.dev/operator/internal/cli/status"

// The checks, in their order.
const (
	Provision = "provision"
	Snapshot  = "snapshot"
	Clone     = "clone"
	Larger    = "larger clone"
	Expand    = "expand"
)

// Report is the result of all checks of one StorageClass.
type Report struct {
	// StorageClass that was checked, its driver, and the VolumeSnapshotClass of its
	// snapshots; empty: there is none.
	StorageClass        string `json:"storageClass"`
	Driver              string `json:"driver"`
	VolumeSnapshotClass string `json:"volumeSnapshotClass,omitempty"`
	// Checks in the order in which they were made.
	Checks []Check `json:"checks"`
}

// Check is the result of one.
type Check struct {
	// Name of the check, such as snapshot.
	Name string `json:"name"`
	// Level is OK, Failure, or Warning for a check that was not made.
	Level status.Level `json:"level"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Message states what was found.
	Message string `json:"message"`
	// Fix is a command that corrects it, or shows more; empty for what is OK.
	Fix string `json:"fix,omitempty"`
}

// Failed reports whether a check failed, or was not made.
func (r Report) Failed() bool {
	for _, c := range r.Checks {
		if c.Level != status.LevelOK {
			return true
		}
	}
	return false
}
