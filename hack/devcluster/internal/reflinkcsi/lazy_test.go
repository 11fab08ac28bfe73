package reflinkcsi

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"gocache.dev/operator/hack/devcluster/internal/lazyfile"
)

// TestMain is the process that serves an image, if it is run as that.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != lazyfile.Command {
		os.Exit(m.Run())
	}
	if err := lazyfile.Run(context.Background(), os.Args[2:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func snapshotOf(t *testing.T, d *Driver, volume, name string) {
	t.Helper()
	if _, err := d.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: volume}); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredLazily holds that volumes which are restored while the fault is set keep it, and
// that nothing of an earlier volume of that name counts as loaded.
func TestRestoredLazily(t *testing.T) {
	t.Parallel()
	d := newDriver(t)
	create(t, d, volumeRequest("v", size, nil))
	snapshotOf(t, d, "v", "s")
	setFaults(t, d, `{"rules":[{"operation":"restore","lazy":"20ms"}]}`)
	state := lazyfile.StateOf(d.pool.image(volumes, "lazy"))
	if err := os.WriteFile(state, []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, d, volumeRequest("lazy", size, fromSnapshot("s")))
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("a new volume has loaded something: %v", err)
	}
	create(t, d, volumeRequest("clone", size, fromVolume("v")))
	create(t, d, volumeRequest("empty", size, nil))
	setFaults(t, d, `{}`)
	create(t, d, volumeRequest("later", size, fromSnapshot("s")))
	for id, want := range map[string]time.Duration{"v": 0, "lazy": 20 * time.Millisecond, "clone": 0, "empty": 0, "later": 0} {
		if r, err := d.pool.load(volumes, id); err != nil || time.Duration(r.Lazy) != want {
			t.Errorf("%s: %s, %v, want %s", id, time.Duration(r.Lazy), err, want)
		}
	}
	if err := os.WriteFile(state, []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "lazy"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the volume is deleted, and not what it had loaded: %v", err)
	}
}

// onMachine is a driver with real volumes.
func onMachine(t *testing.T) *Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	for _, device := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(device); err != nil {
			t.Skipf("needs FUSE and loop devices: %v", err)
		}
	}
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		t.Skipf("needs the file system of volumes: %v", err)
	}
	d := newDriver(t)
	d.format = format
	return d
}

func staged(t *testing.T, d *Driver, volume string) string {
	t.Helper()
	dir := t.TempDir()
	_, err := d.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: volume, StagingTargetPath: dir, VolumeCapability: mountCapability[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func unstaged(t *testing.T, d *Driver, volume, dir string) {
	t.Helper()
	if _, err := d.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: volume, StagingTargetPath: dir}); err != nil {
		t.Fatal(err)
	}
}

// serving counts the processes that serve an image.
func serving(t *testing.T, image string) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(b), lazyfile.Command+"\x00--image\x00"+image+"\x00") {
			n++
		}
	}
	return n
}

// TestLazyVolume holds that a lazily loaded volume is a volume: it has the content of its
// snapshot, grows, and is snapshotted while it is mounted, also by a driver that has been
// started since; and that its process and its mount end with it.
func TestLazyVolume(t *testing.T) {
	const grown = 3 * size
	for name, zone := range map[string]string{"one node": "", "several nodes": "a"} {
		t.Run(name, func(t *testing.T) {
			d := onMachine(t)
			content := bytes.Repeat([]byte("content"), 1<<17)
			create(t, d, volumeRequest("v", 2*size, nil))
			dir := staged(t, d, "v")
			if err := os.WriteFile(filepath.Join(dir, "old"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			snapshotOf(t, d, "v", "s")
			unstaged(t, d, "v", dir)

			setFaults(t, d, `{"rules":[{"operation":"restore","lazy":"20ms"}]}`)
			create(t, d, volumeRequest("lazy", 2*size, fromSnapshot("s")))
			if d.options.Zone = zone; d.shared() {
				if err := attachTo(t, d, "lazy", "node", csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER); err != nil {
					t.Fatal(err)
				}
			}
			dir = staged(t, d, "lazy")
			image := d.pool.image(volumes, "lazy")
			if n := serving(t, image); n != 1 {
				t.Errorf("%d processes serve it", n)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "old")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := os.WriteFile(filepath.Join(dir, "new"), content, 0o600); err != nil {
				t.Fatal(err)
			}

			next, err := New(d.options)
			if err != nil {
				t.Fatal(err)
			}
			snapshotOf(t, next, "lazy", "again")
			if _, err := next.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: "lazy", CapacityRange: &csi.CapacityRange{RequiredBytes: grown}}); err != nil {
				t.Fatal(err)
			}
			if _, err := next.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: "lazy", VolumePath: dir}); err != nil {
				t.Fatal(err)
			}
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize < 2*size {
				t.Errorf("the file system has %d bytes, %v", int64(st.Blocks)*st.Bsize, err)
			}
			unstaged(t, next, "lazy", dir)
			ended(t, d, image)

			setFaults(t, d, `{}`)
			next.options.Zone = ""
			create(t, next, volumeRequest("copy", grown, fromSnapshot("again")))
			dir = staged(t, next, "copy")
			for _, name := range []string{"old", "new"} {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s of a volume that was snapshotted while it was mounted: %d bytes, %v", name, len(got), err)
				}
			}
			unstaged(t, next, "copy", dir)
		})
	}
}

// ended waits until no process serves an image, and holds that no mount of one is left.
func ended(t *testing.T, d *Driver, image string) {
	t.Helper()
	const bound = 30 * time.Second
	for began := time.Now(); serving(t, image) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > bound {
			t.Fatalf("%s is still served", image)
		}
	}
	if left, err := filepath.Glob(filepath.Join(d.options.Devices, "lazy-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), d.options.Devices) {
		t.Errorf("mounted: %v\n%s", err, mounts)
	}
}

// synced writes a file system to its disk.
func synced(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

// TestLostNodeWithLazyVolume holds that a node which is detached while it has the volume
// mounted reads and writes nothing of it any more, and that another goes on with what is
// loaded.
func TestLostNodeWithLazyVolume(t *testing.T) {
	d := onMachine(t)
	create(t, d, volumeRequest("v", 2*size, nil))
	snapshotOf(t, d, "v", "s")
	setFaults(t, d, `{"rules":[{"operation":"restore","lazy":"20ms"}]}`)
	create(t, d, volumeRequest("lazy", 2*size, fromSnapshot("s")))
	d.options.Zone = "a"
	const mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	if err := attachTo(t, d, "lazy", "node", mode); err != nil {
		t.Fatal(err)
	}
	lost := staged(t, d, "lazy")
	if err := os.WriteFile(filepath.Join(lost, "file"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	synced(t, lost)
	detachFrom(t, d, "lazy", "node")
	if err := os.WriteFile(filepath.Join(lost, "late"), nil, 0o600); err == nil {
		t.Error("the node that lost it writes")
	}
	o := d.options
	o.Node = "n2"
	other, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, attachTo(t, other, "lazy", "n2", mode), codes.OK)
	dir := staged(t, other, "lazy")
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "kept" {
		t.Errorf("%q, %v", got, err)
	}
	unstaged(t, other, "lazy", dir)
	unstaged(t, d, "lazy", lost)
	ended(t, d, d.pool.image(volumes, "lazy"))
}
