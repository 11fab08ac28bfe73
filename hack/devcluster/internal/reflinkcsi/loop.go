package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// loops are the loop devices that images are mounted through. Their device
// nodes are made in a folder of our own: a machine without devtmpfs has only
// the first eight.
type loops struct{ dir string }

// attempts bounds how often a free device may be taken by another process, such
// as a second cluster, before we have it.
const attempts = 64

// backing is what a loop device reads and writes: an image, or a file that stands for it.
type backing struct {
	*os.File
	// name is the name that the device shows, and flags are LO_FLAGS beside the usual ones.
	name  string
	flags uint32
}

// openImage opens an image itself.
func openImage(image string) (backing, error) {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	return backing{File: f, name: image}, err
}

// mount mounts what an image holds. The device releases itself with the last mount of it.
func (l loops) mount(b backing, dir, data string) (err error) {
	device, err := l.attach(b)
	if err != nil {
		return fmt.Errorf("loop device for %s: %w", b.Name(), err)
	}
	// Until it is mounted this descriptor keeps the device; afterwards the mount does.
	defer func() { err = errors.Join(err, device.Close()) }()
	return mountDevice(device, dir, data)
}

func mountDevice(device *os.File, dir, data string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := unix.Mount(device.Name(), dir, fsType, 0, data); err != nil {
		return fmt.Errorf("mount %s on %s (%s): %w", device.Name(), dir, data, err)
	}
	return nil
}

// device returns the loop device that an image is attached to, on whichever node; nil
// means none.
func (l loops) device(image string) (*os.File, error) {
	attached, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, err
	}
	for _, dir := range attached {
		number, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "loop"))
		if err != nil {
			continue
		}
		same, err := l.backedBy(number, image)
		if err != nil {
			return nil, err
		}
		if same {
			return l.open(number)
		}
	}
	return nil, nil
}

// Device returns a node of the loop device that an image is attached to, made in a
// folder; empty means that there is none.
func Device(dir, image string) (string, error) {
	device, err := loops{dir: dir}.device(image)
	if device == nil || err != nil {
		return "", err
	}
	return device.Name(), device.Close()
}

// whileMounted calls do with a folder where the file system of an image is mounted, if
// another node has mounted it, and otherwise idle.
func (l loops) whileMounted(image string, idle func() error, do func(dir string) error) (err error) {
	device, err := l.device(image)
	if err != nil {
		return err
	}
	if device == nil {
		return idle()
	}
	// It keeps the device, as the mount does.
	defer func() { err = errors.Join(err, device.Close()) }()
	dir, err := os.MkdirTemp(l.dir, "mount-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := mountDevice(device, dir, mountData); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount(dir)) }()
	return do(dir)
}

func (l loops) attach(b backing) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close() //nolint:errcheck // nothing is written to it
	for range attempts {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("get a free device: %w", err)
		}
		device, err := l.open(number)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(b.Fd())} //nolint:gosec // a descriptor is small
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | b.flags
		copy(config.Info.File_name[:len(config.Info.File_name)-1], b.name)
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err := errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("configure loop%d: %w", number, err)
		}
	}
	return nil, fmt.Errorf("no free device after %d attempts", attempts)
}

// open opens a device by its number, with a device node of our own.
func (l loops) open(number int) (*os.File, error) {
	b, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/dev", number))
	if err != nil {
		return nil, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(b), "%d:%d", &major, &minor); err != nil {
		return nil, fmt.Errorf("/sys/block/loop%d/dev: %w", number, err)
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	node := filepath.Join(l.dir, "loop"+strconv.Itoa(number))
	err = unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))) //nolint:gosec // a device number is small
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("mknod %s: %w", node, err)
	}
	return os.OpenFile(node, os.O_RDWR, 0)
}

// mountOf returns a folder where an image is mounted, or "".
func (l loops) mountOf(image string) (string, error) {
	mounts, err := readMounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		number, isLoop := loopNumber(m)
		if !isLoop {
			continue
		}
		same, err := l.backedBy(number, image)
		if err != nil {
			return "", err
		}
		if same {
			return m.dir, nil
		}
	}
	return "", nil
}

// backedBy asks the device itself: the name that sysfs shows is truncated, and is of
// whichever mount namespace it was opened in. A device of a lazily loaded file has the image
// in its name.
func (l loops) backedBy(number int, image string) (bool, error) {
	var want unix.Stat_t
	if err := unix.Stat(image, &want); err != nil {
		return false, fmt.Errorf("%s: %w", image, err)
	}
	device, err := l.open(number)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer device.Close() //nolint:errcheck // only asked
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return false, nil // released since
	}
	if err != nil {
		return false, fmt.Errorf("status of loop%d: %w", number, err)
	}
	return info.Inode == want.Ino && info.Device == want.Dev || unix.ByteSliceToString(info.File_name[:]) == lazyName(want), nil
}

// growFileSystem lets the device mounted at dir see its file's size, and grows
// the file system to it.
func (l loops) growFileSystem(ctx context.Context, dir string) error {
	m, found, err := findMount(dir)
	if err != nil {
		return err
	}
	number, isLoop := loopNumber(m)
	if !found || !isLoop {
		return fmt.Errorf("%s: no volume is mounted there", dir)
	}
	device, err := l.open(number)
	if err != nil {
		return err
	}
	defer device.Close() //nolint:errcheck // nothing is written to it
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", device.Name(), err)
	}
	return run(ctx, "xfs_growfs", "-d", m.dir)
}

func loopNumber(m mount) (int, bool) {
	const loopMajor = "7:"
	minor, isLoop := strings.CutPrefix(m.device, loopMajor)
	if !isLoop {
		return 0, false
	}
	n, err := strconv.Atoi(minor)
	return n, err == nil
}
