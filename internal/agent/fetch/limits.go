package fetch

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/volume"
)

// checkInterval is how often the disk is looked at while a repository is written to it.
const checkInterval = 500 * time.Millisecond

// limitMemory has the kernel refuse this process more memory than this, in bytes. The Go
// runtime then ends the process. What it has mapped and does not use is not counted.
func limitMemory(most int64) error {
	mapped, err := statusBytes("VmData")
	if err != nil {
		return err
	}
	used, err := statusBytes("RssAnon")
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(most / 8 * 7) // rather collect than die
	limit := uint64(most + max(mapped-used, 0))
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("limit the memory of this process: %w", err)
	}
	return nil
}

// statusBytes is a size in the status of this process.
func statusBytes(name string) (int64, error) {
	const file = "/proc/self/status"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != name+":" || fields[2] != "kB" {
			continue
		}
		kibibytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %s: %w", file, name, err)
		}
		return kibibytes << 10, nil
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// errDisk is a repository that takes too much of the disk.
type errDisk struct{ limit int64 }

func (e errDisk) Error() string {
	return fmt.Sprintf("the repository takes more than %d MiB of disk, with what is sent of its history: list the directories that are built in sparseCheckout, or remove large files from the repository", e.limit>>20)
}

// within makes a fetch whose files take at most so many bytes of the disk. The kubelet would
// end the pod, and with it the run of all sources, where they take more than the volume may.
// A fetch that is not made for that reason may still write when within returns.
func within(ctx context.Context, dir string, most int64, fetch func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- fetch(ctx) }()
	for {
		select {
		case err := <-done:
			if err == nil && takes(dir) > most {
				return errDisk{most}
			}
			return err
		case <-time.After(checkInterval):
			if takes(dir) > most {
				return errDisk{most}
			}
		}
	}
}

// takes is how many bytes the files of a directory take.
func takes(dir string) int64 {
	space, err := volume.Measure(dir)
	if err != nil { // it is not there yet
		return 0
	}
	return space.Tree
}
