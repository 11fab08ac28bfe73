package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/lazyfile"
)

// program is this one, whatever has become of its file.
const program = "/proc/self/exe"

// openLazily opens a file that stands for an image, and loads it when it is first read. The
// process that serves it ends with the loop device, so it survives this driver, and there is
// nothing to remove.
func (d *Driver) openLazily(ctx context.Context, image string, latency time.Duration) (backing, error) {
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return backing{}, fmt.Errorf("%s: %w", image, err)
	}
	if err := os.MkdirAll(d.options.Devices, 0o700); err != nil {
		return backing{}, err
	}
	// Not one folder for each volume: a process of a killed driver may still unmount its own.
	at, err := os.MkdirTemp(d.options.Devices, "lazy-*")
	if err != nil {
		return backing{}, err
	}
	f, err := lazyfile.Start(ctx, program, lazyfile.Options{Image: image, At: at, Latency: latency, Parallel: lazyfile.Parallel})
	if err != nil {
		err = errors.Join(err, unmount(at))
		if e := os.Remove(at); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return backing{}, err
	}
	d.log.Info("served lazily", "image", image, "latency", latency)
	return backing{File: f, name: lazyName(st), flags: unix.LO_FLAGS_DIRECT_IO}, nil
}

// lazyName is the name of the loop device of a file that stands for an image: its inode
// is another one than the image's.
func lazyName(image unix.Stat_t) string { return fmt.Sprintf("lazy:%d:%d", image.Dev, image.Ino) }
