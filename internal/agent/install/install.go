// Package install copies the agent into a shared directory, from where a
// container with another image can run it.
package install

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Name is the file name of the installed agent.
const Name = "gocache-agent"

// Run copies the executable at self to dir, complete or not at all.
func Run(self, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // run by another user
		return err
	}
	src, err := os.Open(self) //nolint:gosec // our own executable
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.CreateTemp(dir, ".agent-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(0o555), dst.Close())
	if err == nil {
		err = os.Rename(dst.Name(), filepath.Join(dir, Name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("installing the agent: %w", err), os.Remove(dst.Name()))
	}
	return nil
}
