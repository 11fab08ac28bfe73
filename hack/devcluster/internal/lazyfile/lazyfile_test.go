package lazyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdCommand starts a process that serves, and holds its file until it is killed.
const holdCommand = "hold"

// TestMain is the process that serves, or one that has started it, if it is run as that.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if len(args) == 0 || args[0] != Command && args[0] != holdCommand {
		os.Exit(m.Run())
	}
	err := func() error {
		if args[0] == Command {
			return Run(context.Background(), args[1:], os.Stdin, os.Stdout)
		}
		f, err := Start(context.Background(), os.Args[0], Options{Image: args[1], At: args[2], Parallel: 1})
		if err != nil {
			return err
		}
		fmt.Println(f.Name())
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// needs skips a test where there is no root or no FUSE.
func needs(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
}

// bound is how long anything may take that is waited for.
const bound = 30 * time.Second

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > bound {
			t.Fatalf("%s: not within %s", what, bound)
		}
	}
}

// servers are the processes that serve an image.
func servers(t *testing.T, image string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(b), "\x00")
		if len(args) > 3 && args[1] == Command && args[3] == image {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, pid)
		}
	}
	return found
}

// gone waits until no process serves an image, and holds that none of its mounts is left.
func gone(t *testing.T, image, at string) {
	t.Helper()
	eventually(t, "no process serves it", func() bool { return len(servers(t, image)) == 0 })
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), at) {
		t.Errorf("left:\n%s", mounts)
	}
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", at, err)
	}
}

func started(t *testing.T, o Options) *os.File {
	t.Helper()
	f, err := Start(t.Context(), os.Args[0], o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.Close()
		gone(t, o.Image, o.At)
	})
	return f
}

// TestFile reads and writes an image through a file of another process.
func TestFile(t *testing.T) {
	needs(t)
	image, at := newImage(t, 4*chunkBytes+3, 0, 1, 3), filepath.Join(t.TempDir(), "at")
	const latency = 300 * time.Millisecond
	f := started(t, Options{Image: image, At: at, Latency: latency, Parallel: 1})
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("it is still mounted: %v", err)
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d: %v", len(got), len(want), err)
	}
	if took := time.Since(began); took < 3*latency {
		t.Errorf("three chunks took %s", took)
	}
	if _, err := f.WriteAt([]byte("written"), chunkBytes-3); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if want, err = os.ReadFile(image); err != nil || string(want[chunkBytes-3:chunkBytes+4]) != "written" {
		t.Errorf("the image has %q, %v", want[chunkBytes-3:chunkBytes+4], err)
	}
	if err := os.Truncate(image, 6*chunkBytes); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 6*chunkBytes {
		t.Errorf("the image has grown, the file has not: %v, %v", info, err)
	}
}

// TestKilledStarter holds that nothing is left of a process whose starter was killed.
func TestKilledStarter(t *testing.T) {
	needs(t)
	image, at := newImage(t, chunkBytes, 0), filepath.Join(t.TempDir(), "at")
	starter := exec.Command(os.Args[0], holdCommand, image, at)
	in, err := starter.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // it is killed
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := len(servers(t, image)); n != 1 {
		t.Errorf("%d processes serve it", n)
	}
	_ = starter.Process.Kill()
	_ = starter.Wait()
	gone(t, image, at)
}

// TestFailedStart holds that a process which cannot serve is an error, and not left.
func TestFailedStart(t *testing.T) {
	needs(t)
	at := filepath.Join(t.TempDir(), "at")
	if f, err := Start(t.Context(), os.Args[0], Options{Image: at + "none", At: at, Parallel: 1}); err == nil {
		t.Errorf("it serves %s", f.Name())
	}
	gone(t, at+"none", at)
}

// mounted mounts the file system in a file through a loop device with direct I/O.
func mounted(t *testing.T, file *os.File) string {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	defer control.Close() //nolint:errcheck // nothing is written to it
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	for {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			t.Skipf("needs loop devices: %v", err)
		}
		defer device.Close() //nolint:errcheck // the mount keeps it
		if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); errors.Is(err, unix.EBUSY) {
			continue // another process was faster
		} else if err != nil {
			t.Fatal(err)
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		if err != nil || info.Flags&unix.LO_FLAGS_DIRECT_IO == 0 {
			t.Errorf("%s: no direct I/O: flags %x, %v", file.Name(), info.Flags, err)
		}
		dir := t.TempDir()
		if err := unix.Mount(device.Name(), dir, "xfs", 0, "nouuid"); err != nil {
			t.Fatalf("mount %s: %v", file.Name(), err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		return dir
	}
}

// mountedImage is the same of an image itself.
func mountedImage(t *testing.T, image string) string {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the device has it
	return mounted(t, f)
}

func unmounted(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
}

// readAtOnce reads the chunks of a file by as many readers.
func readAtOnce(t *testing.T, name string, want []byte) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	var all sync.WaitGroup
	for off := 0; off < len(want); off += chunkBytes {
		all.Go(func() {
			got := make([]byte, chunkBytes)
			if n, err := f.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+chunkBytes]) {
				t.Errorf("%s at %d: %d bytes, %v", name, off, n, err)
			}
		})
	}
	all.Wait()
}

// TestVolume mounts a file system on a file that is loaded lazily, through a loop device with
// direct I/O: it has what was written, and chunks are loaded at once.
func TestVolume(t *testing.T) {
	needs(t)
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		t.Skipf("needs the file system of volumes: %v", err)
	}
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 320<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.xfs", "-q", "-K", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 16*chunkBytes/16)
	direct := mountedImage(t, image)
	for _, name := range []string{"file", "unread"} {
		if err := os.WriteFile(filepath.Join(direct, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unmounted(t, direct)

	const latency = time.Second // one after the other, the chunks take 16
	f := started(t, Options{Image: image, At: at, Latency: latency, Parallel: 16})
	through := mounted(t, f)
	if err := f.Close(); err != nil { // the loop device has it
		t.Fatal(err)
	}
	began := time.Now()
	readAtOnce(t, filepath.Join(through, "file"), content)
	if took := time.Since(began); took < latency || took > 8*latency {
		t.Errorf("16 chunks that are read at once took %s", took)
	} else {
		t.Logf("16 chunks took %s", took)
	}
	if err := os.WriteFile(filepath.Join(through, "new"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	unmounted(t, through)
	gone(t, image, at)

	state, err := os.ReadFile(StateOf(image))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.IndexByte(state, loaded) < 0 || bytes.IndexByte(state, unloaded) < 0 {
		t.Errorf("of %d chunks all or none are loaded", len(state))
	}
	again := mountedImage(t, image)
	for _, name := range []string{"file", "unread", "new"} {
		if got, err := os.ReadFile(filepath.Join(again, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	unmounted(t, again)
}
