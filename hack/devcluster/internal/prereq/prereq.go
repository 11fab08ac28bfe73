// Package prereq lists what a machine lacks to run a local cluster: everything at
// once, with the one command that installs it. It is the second check: make
// runs hack/prerequisites/check.sh before this program is compiled, and a test
// compares the two lists.
package prereq

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Tool is a program that must be on the machine.
type Tool struct {
	// Name is looked up in PATH, or is an absolute path.
	Name string
	// Package is the Debian package that has it.
	Package string
	// Why is what it is needed for.
	Why string
}

// CNIDir is where Debian installs the CNI plugins.
const CNIDir = "/usr/lib/cni"

// Cluster are the tools that a running cluster needs.
var Cluster = []Tool{
	{"runc", "runc", "runs containers"},
	{filepath.Join(CNIDir, "bridge"), "containernetworking-plugins", "gives pods a network"},
	{filepath.Join(CNIDir, "host-local"), "containernetworking-plugins", "gives pods addresses"},
	{filepath.Join(CNIDir, "portmap"), "containernetworking-plugins", "host ports"},
	{"iptables", "iptables", "the CNI plugins' masquerading"},
	{"nft", "nftables", "kube-proxy's rules"},
	{"mkfs.xfs", "xfsprogs", "the file system of volumes"},
	{"xfs_growfs", "xfsprogs", "volume expansion"},
	{"mount", "mount", "the kubelet's mounts"},
	{"busybox", "busybox-static", "the debugging image"},
}

// Go is the tool that builds the programs of a cluster.
var Go = Tool{"go", "golang", "builds the programs of the cluster; see https://go.dev/doc/install"}

// HAProxy is the tool that the HAProxy image is made from.
var HAProxy = Tool{"haproxy", "haproxy", "the HAProxy image"}

// Compiler and Headers are what the image with a C compiler is made from.
var (
	Compiler = Tool{"gcc", "gcc", "the image with a C compiler"}
	Headers  = Tool{"/usr/include/stdlib.h", "libc6-dev", "the image with a C compiler"}
)

// Busybox is the tool that the debugging image is made from.
var Busybox = Tool{"busybox", "busybox-static", "the debugging image"}

// Machine is what the check looks at.
type Machine struct {
	OS   string
	UID  int
	Find func(name string) error
}

// This is the machine that the program runs on.
func This() Machine {
	return Machine{OS: runtime.GOOS, UID: os.Geteuid(), Find: find}
}

// Root checks that namespaces, mounts, and network links can be made.
func (m Machine) Root() error {
	if m.OS != "linux" {
		return fmt.Errorf("a local cluster needs Linux (namespaces, cgroups, loop devices); this is %s", m.OS)
	}
	if m.UID != 0 {
		return fmt.Errorf("a local cluster needs root, for namespaces and mounts (user id is %d): run it as root, for example with sudo -E env \"PATH=$PATH\" before the command", m.UID)
	}
	return nil
}

// Tools checks that all tools are installed.
func (m Machine) Tools(tools ...Tool) error {
	var lacking, packages []string
	for _, t := range tools {
		if m.Find(t.Name) == nil {
			continue
		}
		lacking = append(lacking, fmt.Sprintf("  %-32s %s", t.Name, t.Why))
		packages = append(packages, t.Package)
	}
	if len(lacking) == 0 {
		return nil
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	return fmt.Errorf("missing on this machine:\n%s\ninstall with (Debian, Ubuntu):\n  apt-get update && apt-get install -y --no-install-recommends %s",
		strings.Join(lacking, "\n"), strings.Join(packages, " "))
}

// Check is Root and Tools, reported together.
func (m Machine) Check(tools ...Tool) error {
	if m.OS != "linux" {
		return m.Root() // tools of another system are no evidence
	}
	return errors.Join(m.Root(), m.Tools(tools...))
}

// SearchPath adds to a PATH the directories of administrators' tools, which su
// and cron often leave out. A program whose PATH it is can run what Tools finds.
func SearchPath(path string) string {
	dirs := filepath.SplitList(path)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(os.PathListSeparator))
}

// find looks for a file, or for a command in PATH. The program has set PATH to
// what SearchPath returns.
func find(name string) error {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return err
	}
	_, err := exec.LookPath(name)
	return err
}
