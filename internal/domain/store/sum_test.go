package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/store"
)

// TestRecordedSum holds that a sum is read as it was recorded, and that nothing
// else is taken for one. A file system without attributes has none.
func TestRecordedSum(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got := store.RecordedSum(int(f.Fd())); got != "" {
		t.Errorf("of a new file: %q", got)
	}
	sum := strings.Repeat("0a", 32)
	for value, want := range map[string]string{sum: sum, sum[2:]: "", sum + "00": "", "": ""} {
		if err := unix.Fsetxattr(int(f.Fd()), store.SumAttribute, []byte(value), 0); errors.Is(err, unix.ENOTSUP) {
			want = ""
		} else if err != nil {
			t.Fatal(err)
		}
		if got := store.RecordedSum(int(f.Fd())); got != want {
			t.Errorf("%q was recorded, %q is read", value, got)
		}
	}
}
