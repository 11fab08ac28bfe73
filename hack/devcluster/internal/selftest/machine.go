package selftest

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

	"github.com/vishvananda/netlink"
)

// machine is what a cluster must leave as it was.
type machine map[string]bool

// settle is how long the kernel may take to forget what has been removed.
const settle = 5 * time.Second

// observe lists mounts, interfaces, routes, cgroups, attached loop devices, and
// processes and files that carry one of the names.
func observe(names ...string) (machine, error) {
	m := machine{}
	return m, errors.Join(m.mounts(), m.network(), m.cgroups(names), m.loops(names), m.processes(names))
}

func (m machine) mounts() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			m["mount "+fields[4]] = true
		}
	}
	return err
}

func (m machine) network() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		m["interface "+l.Attrs().Name] = true
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	for _, r := range routes {
		m["route "+r.String()] = true
	}
	return err
}

func (m machine) cgroups(names []string) error {
	return filepath.WalkDir("/sys/fs/cgroup", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // cgroups come and go
		}
		if containsAny(entry.Name(), names) {
			m["cgroup "+name] = true
			return filepath.SkipDir
		}
		return nil
	})
}

func (m machine) loops(names []string) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && containsAny(string(b), names) {
			m["loop device "+strings.TrimSpace(string(b))] = true
		}
	}
	return err
}

func (m machine) processes(names []string) error {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // ended since
		}
		command := strings.ReplaceAll(string(cmdline), "\x00", " ")
		if containsAny(command, names) {
			m[fmt.Sprintf("process %d %.80s", pid, command)] = true
		}
	}
	return err
}

func containsAny(s string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(s, n) })
}

// leftBehind waits for the machine to be as it was, and returns what is new.
func leftBehind(before machine, names ...string) error {
	for deadline := time.Now().Add(settle); ; time.Sleep(50 * time.Millisecond) {
		after, err := observe(names...)
		if err != nil {
			return err
		}
		var extra []string
		for what := range after {
			if !before[what] && !elsewhere(what, names) {
				extra = append(extra, what)
			}
		}
		if len(extra) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			slices.Sort(extra)
			return fmt.Errorf("left behind:\n  %s", strings.Join(extra, "\n  "))
		}
	}
}

// elsewhere reports whether something belongs to a cluster that was started
// meanwhile: ours have our names, or our interfaces, which the caller checks.
func elsewhere(what string, names []string) bool {
	return strings.HasPrefix(what, "mount ") && !containsAny(what, names)
}
