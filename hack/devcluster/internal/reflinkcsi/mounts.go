package reflinkcsi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one line of mountinfo.
type mount struct {
	// device is major:minor.
	device string
	// dir is where it is mounted.
	dir string
}

func readMounts() ([]mount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b)), nil
}

// parseMounts reads "id parent major:minor root dir options…" lines.
func parseMounts(s string) []mount {
	var mounts []mount
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		if len(fields) > 4 {
			mounts = append(mounts, mount{device: fields[2], dir: unescape.Replace(fields[4])})
		}
	}
	return mounts
}

// unescape undoes how the kernel writes what would break a line into fields.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// findMount returns the topmost mount at a folder.
func findMount(dir string) (mount, bool, error) {
	mounts, err := readMounts()
	if err != nil {
		return mount{}, false, err
	}
	dir = filepath.Clean(dir)
	for i := len(mounts) - 1; i >= 0; i-- {
		if mounts[i].dir == dir {
			return mounts[i], true, nil
		}
	}
	return mount{}, false, nil
}

func isMountPoint(dir string) (bool, error) {
	_, found, err := findMount(dir)
	return found, err
}

// unmount removes every mount at a folder; none, or no folder, is no error.
func unmount(dir string) error {
	for {
		mounted, err := isMountPoint(dir)
		if err != nil || !mounted {
			return err
		}
		if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}
