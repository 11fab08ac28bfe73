package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/mod/module"
)

// SupersededFile in the root of a store of our own server records which versions it
// has replaced by the content that another instance of its proxy had first. What was
// recorded of such a version before is no longer about the store.
const SupersededFile = ".gocache-superseded"

const (
	// MaxSuperseded is how many of them are kept, the last ones.
	MaxSuperseded = 256
	// maxSupersededFile bounds the file, in bytes.
	maxSupersededFile = 1 << 20
)

// Superseded is a version whose content was replaced.
type Superseded struct {
	module.Version
	// Zip and Mod are the h1 hashes of what was replaced; empty: the store had none.
	Zip, Mod string `json:",omitempty"`
	// By is the URL of the instance whose content counts.
	By string
	// Time of the replacement, by the clock of the server.
	Time time.Time
}

// ReadSuperseded reads the record of the store in dir; without one it is empty.
func ReadSuperseded(dir string) ([]Superseded, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // read only
	return readSuperseded(root)
}

func readSuperseded(root *os.Root) ([]Superseded, error) {
	info, err := root.Stat(SupersededFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxSupersededFile:
		return nil, fmt.Errorf("%s is no record: %s, %d bytes", SupersededFile, info.Mode(), info.Size())
	}
	text, err := root.ReadFile(SupersededFile)
	if err != nil {
		return nil, err
	}
	var all []Superseded
	for line := range bytes.Lines(text) {
		var one Superseded
		if err := json.Unmarshal(line, &one); err != nil {
			return nil, fmt.Errorf("%s: %w", SupersededFile, err)
		}
		all = append(all, one)
	}
	return all[max(0, len(all)-MaxSuperseded):], nil
}

// AddSuperseded adds to the record. A record that cannot be read is replaced.
func AddSuperseded(root *os.Root, one Superseded) error {
	all, err := readSuperseded(root)
	if err != nil {
		all = nil
	}
	all = append(all, one)
	var text bytes.Buffer
	for _, s := range all[max(0, len(all)-MaxSuperseded):] {
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	temp := SupersededFile + ".tmp"
	if err := root.WriteFile(temp, text.Bytes(), 0o664); err != nil {
		return err
	}
	return root.Rename(temp, SupersededFile)
}
