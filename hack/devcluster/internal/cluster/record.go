package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Record is what is remembered about a cluster that was started.
type Record struct {
	Spec
	// BinDir holds the built programs that the cluster runs.
	BinDir string `json:"binDir"`
	// Init is the process that every other process, mount, and link of the
	// cluster dies with.
	// With several nodes it is that of the first one.
	Init Process `json:"init"`
	// Others are the same processes of the other nodes, from the second one on. One of
	// a node that was never started, or was killed, is zero or not alive.
	Others []Process `json:"others,omitempty"`
}

// NodeInit is the process that a node hangs on.
func (r Record) NodeInit(n Node) Process {
	switch i := n.Number - 2; {
	case n.First():
		return r.Init
	case i < len(r.Others):
		return r.Others[i]
	}
	return Process{}
}

// SetNodeInit records the process that a node hangs on.
func (r *Record) SetNodeInit(n Node, p Process) {
	if n.First() {
		r.Init = p
		return
	}
	for len(r.Others) < n.Number-1 {
		r.Others = append(r.Others, Process{})
	}
	r.Others[n.Number-2] = p
}

// Load reads the record of the cluster in a state directory. It returns an
// error that is fs.ErrNotExist when there is no cluster.
func Load(stateDir string) (Record, error) {
	var r Record
	file := Spec{StateDir: stateDir}.Paths().Record()
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Save writes the record so that a reader sees the old or the new one, whole.
func (r Record) Save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(r.Paths().Record(), append(b, '\n'), 0o644)
}

// WriteFile replaces a file as one step, making its folder if necessary.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // folders of a test cluster are readable by its users
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
