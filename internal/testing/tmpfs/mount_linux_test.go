package tmpfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/testing/tmpfs"
)

// TestMount holds that a mount has the size that was asked for, and is gone when its
// test has ended.
func TestMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Run("mounted", func(t *testing.T) {
		tmpfs.MountAt(t, dir, "size=1m")
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize != 1<<20 { //nolint:gosec // of one MiB
			t.Errorf("%d blocks of %d bytes, %v", st.Blocks, st.Bsize, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("after it: %v, %v", left, err)
	}
}
