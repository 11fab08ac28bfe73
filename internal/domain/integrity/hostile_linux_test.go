package integrity_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// ownMounts gives a process mounts that are visible to it alone and that end with
// it. A user other than root gets a user namespace besides, in which they are.
func ownMounts(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
}

// powerless makes a process the same user without root's power to read
// everything: under another number in a user namespace, that is lost.
func powerless(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1234, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1234, HostID: os.Getgid(), Size: 1}},
	}
}

// withFailingFiles lays /proc/self/mem over one file after the other: a regular
// file whose reads at small offsets fail with EIO, in any kernel.
func (s *stage) withFailingFiles(check func() error) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: mounts of one's own: %w", errSkip, err)
	}
	for _, name := range s.Failing {
		if err := unix.Mount("/proc/self/mem", name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%w: mounting over %s: %w", errSkip, name, err)
		}
		if _, err := os.ReadFile(name); !errors.Is(err, unix.EIO) { //nolint:gosec // of the test
			return fmt.Errorf("%w: reading %s should fail with EIO: %w", errSkip, name, err)
		}
		if err := errors.Join(check(), unix.Unmount(name, unix.MNT_DETACH)); err != nil {
			return err
		}
	}
	return nil
}

// onDyingDevice mounts an image from a loop device and truncates the file behind it.
func (s *stage) onDyingDevice(check func() error) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: mounts of one's own: %w", errSkip, err)
	}
	if out, err := exec.Command("mount", "-o", "loop,ro,noload", s.Image, s.Mount).CombinedOutput(); err != nil { //nolint:gosec // of the test
		return fmt.Errorf("%w: mounting an image: %w: %s", errSkip, err, out)
	}
	defer func() { _ = unix.Unmount(s.Mount, unix.MNT_DETACH) }()
	if err := os.Truncate(s.Image, s.Left); err != nil {
		return err
	}
	return check()
}

// Every file that a check reads fails with EIO in turn: the verdict is
// Inconclusive, one file is named, and nothing is to be removed.
func TestReadErrors(t *testing.T) {
	tree := cachetree.New(t)
	lib := filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v")
	put(t, filepath.Join(tree.BuildCache, "testexpire.txt"), []byte("1\n"))
	for _, c := range []struct {
		name    string
		stage   stage
		failing []string
	}{
		{"module cache", stage{ModCache: tree.ModCache}, []string{
			filepath.Join(lib, "v1.2.0.zip"), filepath.Join(lib, "v1.2.0.ziphash"), filepath.Join(lib, "v1.2.0.mod"),
			filepath.Join(lib, "v1.2.0.info"), filepath.Join(lib, "list"),
			filepath.Join(tree.Extracted(cachetree.Lib), "lib.go"), filepath.Join(tree.Extracted(cachetree.Lib), "testdata/d.bin"),
		}},
		{"build cache", stage{BuildCache: tree.BuildCache}, []string{
			cachetree.Archive(t, tree), cachetree.ActionOf(t, tree), cachetree.IndexOf(t, tree), executable(t, tree),
			filepath.Join(tree.BuildCache, "trim.txt"), filepath.Join(tree.BuildCache, "testexpire.txt"),
		}},
		{"goproxy store", stage{Store: tree.Proxy, Layout: "goproxy"}, []string{
			filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip"), filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.mod"),
			filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.info"), filepath.Join(tree.Proxy, "example.com/lib/@v/list"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.stage.Failing = c.failing
			verdicts := c.stage.perform(t, ownMounts)
			if len(verdicts) != len(c.failing) {
				t.Fatalf("%d verdicts on %d failing files", len(verdicts), len(c.failing))
			}
			for i, v := range verdicts {
				if v.Verdict != integrity.Inconclusive || v.Unreadable != 1 || v.Corrupt+v.Recoverable > 0 || v.Findings[integrity.Unreadable] != 1 {
					t.Errorf("%s: %s, %v: %+v", filepath.Base(c.failing[i]), v.Verdict, v.Findings, v.Examples)
				}
				if len(v.Examples) == 0 || !strings.Contains(v.Examples[0].Detail, unix.EIO.Error()) {
					t.Errorf("%s: the error is not named: %+v", filepath.Base(c.failing[i]), v.Examples)
				}
			}
		})
	}
}

// executable is the file in an output that is a directory.
func executable(t *testing.T, tree *cachetree.Tree) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(tree.BuildCache, "*", "*-d", "*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no executable in the cache: %v", err)
	}
	return found[0]
}

// A device that loses blocks under a mounted file system: inodes, directories
// and contents fail with whatever error the file system makes of it.
func TestDyingDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts a loop device")
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip(err)
	}
	tree := cachetree.New(t)
	const size = 48 << 20
	for _, left := range []int64{size / 2, size / 4, 3 << 20} {
		t.Run(fmt.Sprintf("%d MiB left", left>>20), func(t *testing.T) {
			dir := t.TempDir()
			image := filepath.Join(dir, "image")
			if out, err := exec.Command(mkfs, "-q", "-d", tree.Root, image, fmt.Sprint(size>>10)+"k").CombinedOutput(); err != nil { //nolint:gosec // of the test
				t.Fatalf("%v\n%s", err, out)
			}
			at := mkdir(t, dir, "mnt")
			s := stage{ModCache: filepath.Join(at, "mod"), BuildCache: filepath.Join(at, "build"), Image: image, Mount: at, Left: left}
			for _, v := range s.perform(t, ownMounts) {
				t.Logf("%s, %s", v.Verdict, v.Message)
				if v.Verdict != integrity.Inconclusive || v.Corrupt+v.Recoverable > 0 {
					t.Errorf("%s, %s: %+v", v.Verdict, v.Message, v.Examples)
				}
			}
		})
	}
}

// A file that this user may not read is Inconclusive, never good and never bad; a
// file that no user may read is wrong for every user.
func TestUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		path    func(*cachetree.Tree) string
		mode    os.FileMode
		verdict integrity.Outcome
		class   integrity.Class
		root    integrity.Outcome // where root is asked
	}{
		"shard":            {func(tree *cachetree.Tree) string { return filepath.Dir(cachetree.Archive(t, tree)) }, 0, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"shard not listed": {func(tree *cachetree.Tree) string { return filepath.Dir(cachetree.Archive(t, tree)) }, 0o100, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"output of others": {func(tree *cachetree.Tree) string { return cachetree.Archive(t, tree) }, 0o044, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"entry of others":  {func(tree *cachetree.Tree) string { return cachetree.ActionOf(t, tree) }, 0o044, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"output of nobody": {func(tree *cachetree.Tree) string { return cachetree.Archive(t, tree) }, 0, integrity.OutcomeCorrupt, integrity.BadMode, integrity.OutcomeCorrupt},
		"downloads":        {func(tree *cachetree.Tree) string { return filepath.Join(tree.ModCache, "cache/download") }, 0, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"zip of others": {func(tree *cachetree.Tree) string {
			return filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v/v1.2.0.zip")
		}, 0o044, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"zip of nobody": {func(tree *cachetree.Tree) string {
			return filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v/v1.2.0.zip")
		}, 0, integrity.OutcomeCorrupt, integrity.BadMode, integrity.OutcomeCorrupt},
		"source of others":  {func(tree *cachetree.Tree) string { return filepath.Join(tree.Extracted(cachetree.Lib), "lib.go") }, 0o044, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
		"package of others": {func(tree *cachetree.Tree) string { return filepath.Join(tree.Extracted(cachetree.Lib), "sub") }, 0o055, integrity.Inconclusive, integrity.Unreadable, integrity.Intact},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			path := c.path(tree)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) //nolint:gosec // of the test
			for _, v := range (stage{ModCache: tree.ModCache, BuildCache: tree.BuildCache}).perform(t, powerless) {
				if v.Verdict != c.verdict || v.Findings[c.class] == 0 {
					t.Errorf("%s, %v: %+v", v.Verdict, v.Findings, v.Examples)
				}
			}
			if os.Geteuid() == 0 {
				if v := within(t, time.Minute, integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache}); v.Verdict != c.root {
					t.Errorf("to root: %s, %v: %+v", v.Verdict, v.Findings, v.Examples)
				}
			}
		})
	}
}

// special makes pipes, sockets and, where that is allowed, devices.
func special(t *testing.T) map[string]func(string) error {
	t.Helper()
	kinds := map[string]func(string) error{
		"pipe":   func(n string) error { return unix.Mkfifo(n, 0o666) },
		"socket": listen,
	}
	probe := filepath.Join(t.TempDir(), "probe")
	if err := unix.Mknod(probe, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Logf("without device nodes, which this user may not make: %v", err)
		return kinds
	}
	// /dev/zero, which never ends, and a block device that has no driver.
	kinds["character device"] = func(n string) error { return unix.Mknod(n, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) }
	kinds["block device"] = func(n string) error { return unix.Mknod(n, unix.S_IFBLK|0o666, int(unix.Mkdev(259, 1<<19))) }
	return kinds
}

// listen leaves a socket behind. Its name may be longer than an address may be,
// so that is made from within.
func listen(name string) error {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return errors.Join(os.Rename(filepath.Join(dir, "s"), name), l.Close())
}

// In the place of each file that is read there is a pipe, a socket or a device.
// None is ever opened: opening alone rewinds a tape, arms a watchdog, and lets
// a writer that waits for a reader go on.
func TestSpecialFilesAreNotOpened(t *testing.T) {
	for kind, make := range special(t) {
		t.Run(kind, func(t *testing.T) {
			tree := cachetree.New(t)
			lib := filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v")
			places := []string{
				filepath.Join(lib, "v1.2.0.zip"), filepath.Join(lib, "v1.2.0.ziphash"), filepath.Join(lib, "v1.2.0.mod"), filepath.Join(lib, "v1.2.0.info"),
				filepath.Join(lib, "v1.2.0.lock"), filepath.Join(lib, "list"), filepath.Join(tree.Extracted(cachetree.Lib), "lib.go"),
				cachetree.Archive(t, tree), cachetree.ActionOf(t, tree), executable(t, tree), filepath.Join(tree.BuildCache, "trim.txt"),
				filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.zip"), filepath.Join(tree.Proxy, "example.com/lib/@v/v1.2.0.mod"),
			}
			watch := watchOpens(t)
			for _, place := range places {
				if err := errors.Join(ignoreMissing(os.Remove(place)), make(place)); err != nil {
					t.Fatal(err)
				}
				watch.add(t, place)
			}
			for _, o := range []integrity.Options{{ModCache: tree.ModCache, BuildCache: tree.BuildCache}, {Store: tree.Proxy, Layout: "goproxy"}} {
				if v := within(t, 30*time.Second, o); v.Verdict != integrity.OutcomeCorrupt || v.Unreadable > 0 {
					t.Errorf("%s, %v: %+v", v.Verdict, v.Findings, v.Examples)
				}
			}
			if opened := watch.opened(t); len(opened) > 0 {
				t.Errorf("opened: %v", opened)
			}
		})
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// opens is which of the watched files are opened.
type opens struct {
	fd    int
	names map[int32]string
}

func watchOpens(t *testing.T) *opens {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &opens{fd, map[int32]string{}}
}

func (o *opens) add(t *testing.T, name string) {
	t.Helper()
	wd, err := unix.InotifyAddWatch(o.fd, name, unix.IN_OPEN)
	if err != nil {
		t.Fatal(err)
	}
	o.names[int32(wd)] = name //nolint:gosec // a small number
}

func (o *opens) opened(t *testing.T) []string {
	t.Helper()
	var names []string
	buf := make([]byte, 64<<10)
	n, err := unix.Read(o.fd, buf)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	// struct inotify_event: watch, mask, cookie, length of a name (4 bytes each).
	for rec := bytes.NewBuffer(buf[:max(n, 0)]); rec.Len() >= 16; {
		e := rec.Next(16)
		wd := int32(e[0]) | int32(e[1])<<8 | int32(e[2])<<16 | int32(e[3])<<24
		rec.Next(int(e[12]) | int(e[13])<<8)
		names = append(names, filepath.Base(o.names[wd]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
