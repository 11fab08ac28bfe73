// Package cgroup makes and removes the one cgroup that all pods of a cluster
// are in, in every hierarchy of the machine, cgroup v1, v2, or both.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const root = "/sys/fs/cgroup"

// controllers are what the kubelet needs to limit pods by.
var controllers = []string{"cpuset", "cpu", "io", "memory", "pids"}

// Unified reports whether the machine has cgroup v2 only.
func Unified() (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return false, fmt.Errorf("%s: %w", root, err)
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC, nil
}

// Create makes the cgroup; that it exists is no error. If it is below another one, that
// one must exist.
func Create(name string) error {
	unified, err := Unified()
	if err != nil {
		return err
	}
	if unified {
		return createUnified(name)
	}
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		dir := filepath.Join(h, name)
		if err := mkdir(dir); err != nil {
			return err
		}
		if err := fillCpuset(filepath.Dir(dir), dir); err != nil {
			return err
		}
	}
	return nil
}

// Add puts a process where Freeze finds it, and with it all that it starts.
func Add(name string, pid int) error {
	dir, err := freezer(name)
	if err != nil {
		return err
	}
	unified, err := Unified()
	if err != nil {
		return err
	}
	if unified {
		// A cgroup with children that have controllers takes no processes itself.
		dir = filepath.Join(dir, "system")
		if err := mkdir(dir); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
}

// freezer is where a cgroup can be frozen.
func freezer(name string) (string, error) {
	unified, err := Unified()
	if unified || err != nil {
		return filepath.Join(root, name), err
	}
	return filepath.Join(root, "freezer", name), nil
}

// freezeTimeout is how long processes may take to come to a halt: one that waits
// for a disk does so first.
const freezeTimeout = 10 * time.Second

// Freeze stops every process of a cgroup and of those below it, and Thaw lets
// them go on. A cgroup that does not exist has none.
func Freeze(name string) error { return setFrozen(name, true) }

// Thaw undoes Freeze.
func Thaw(name string) error { return setFrozen(name, false) }

func setFrozen(name string, frozen bool) error {
	dir, err := freezer(name)
	if err != nil {
		return err
	}
	file, value, done := stateFile(dir, frozen)
	err = os.WriteFile(file, []byte(value), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(freezeTimeout); ; time.Sleep(10 * time.Millisecond) {
		now, err := Frozen(name)
		if err != nil || now == frozen {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup %s is not %s after %s", name, done, freezeTimeout)
		}
	}
}

// stateFile returns the file that freezes a cgroup, in either version, and what to
// write to it.
func stateFile(dir string, frozen bool) (file, value, done string) {
	done = map[bool]string{true: "FROZEN", false: "THAWED"}[frozen]
	file, value = filepath.Join(dir, "freezer.state"), done
	if unified, err := Unified(); err == nil && unified {
		file, value = filepath.Join(dir, "cgroup.freeze"), map[bool]string{true: "1", false: "0"}[frozen]
	}
	return file, value, done
}

// Frozen reports whether a cgroup has come to a halt.
func Frozen(name string) (bool, error) {
	dir, err := freezer(name)
	if err != nil {
		return false, err
	}
	b, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
	if err == nil {
		return strings.TrimSpace(string(b)) == "FROZEN", nil
	}
	b, err = os.ReadFile(filepath.Join(dir, "cgroup.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(b), "frozen 1"), err
}

// createUnified delegates the controllers down to the cgroup's children.
func createUnified(name string) error {
	dir := filepath.Join(root, name)
	if err := mkdir(dir); err != nil {
		return err
	}
	for _, parent := range []string{filepath.Dir(dir), dir} {
		for _, c := range controllers {
			err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+c), 0o600)
			// ENOENT: the kernel has no such controller, and the kubelet does without.
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("delegate %s: %w", c, err)
			}
		}
	}
	return nil
}

// fillCpuset copies the parent's processors and memory nodes, without which a
// v1 cpuset takes no process.
func fillCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // another hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil { //nolint:gosec // below the cgroup root
			return err
		}
	}
	return nil
}

func mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755) //nolint:gosec // as every cgroup
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// removeTimeout is how long cgroups may stay busy after their last process died.
const removeTimeout = 5 * time.Second

// Remove removes the cgroup and all below it, from every hierarchy.
func Remove(name string) error {
	dirs, err := Find(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, removeTree(dir))
	}
	return errors.Join(errs...)
}

// Find returns where the cgroup exists.
func Find(name string) ([]string, error) {
	hierarchies, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range hierarchies {
		dir := filepath.Join(h, name)
		if _, err := os.Stat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// removeTree removes children first: a cgroup with children cannot be removed,
// and its files cannot be removed at all.
func removeTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(removeTimeout)
	for _, dir := range slices.Backward(dirs) {
		for {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", dir, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// hierarchies returns the mount points of all cgroup hierarchies.
func hierarchies() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parse(string(b)), nil
}

// parse finds the cgroup mounts below root in a mountinfo file.
func parse(mountinfo string) []string {
	var dirs []string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup") {
			continue
		}
		dir := fields[4]
		if (dir == root || strings.HasPrefix(dir, root+"/")) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
