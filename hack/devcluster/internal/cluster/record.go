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
	Init Process `json:"init"`
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
