package volumetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"gocache.dev/operator/internal/agent/volume"
)

const (
	// folder of the files, below the directory that is given.
	folder = "volume-test"
	// count and size of the files: enough for a driver that copies no data to
	// lose some, and written in a second.
	count = 64
	size  = 64 << 10 // bytes
)

// Report is the result of Check.
type Report struct {
	// Files that have the content that was written.
	Files int `json:"files"`
	// CapacityBytes of the file system.
	CapacityBytes int64 `json:"capacityBytes"`
}

// Write writes the files below dir, and returns when they are on the device: a
// snapshot that is created from then on holds them.
func Write(dir string) error {
	root := filepath.Join(dir, folder)
	if err := os.MkdirAll(root, 0o750); err != nil {
		return err
	}
	for i := range count {
		if err := write(name(root, i), content(i)); err != nil {
			return err
		}
	}
	return volume.Sync(root)
}

func write(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640) //nolint:gosec // below the directory that the caller names
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Check reads the files that Write has written. A file that is missing or has
// other content is an error that names it.
func Check(dir string) (Report, error) {
	root := filepath.Join(dir, folder)
	for i := range count {
		got, err := os.ReadFile(name(root, i))
		if errors.Is(err, fs.ErrNotExist) {
			return Report{}, fmt.Errorf("%s is missing: the volume lacks what was written before the snapshot", name(root, i))
		}
		if err != nil {
			return Report{}, err
		}
		if !bytes.Equal(got, content(i)) {
			return Report{}, fmt.Errorf("%s has other content than what was written", name(root, i))
		}
	}
	space, err := volume.Usage(dir)
	return Report{Files: count, CapacityBytes: space.Capacity}, err
}

func name(root string, i int) string { return filepath.Join(root, fmt.Sprintf("%03d", i)) }

// content differs in every file, and cannot be compressed.
func content(i int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i)) //nolint:gosec // a small number
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(data) // never fails
	return data
}
