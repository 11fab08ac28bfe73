package repair_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
)

// A repair removes what the writer of a volume never leaves there.
func TestRepairRemovesUnexpected(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"mod/cache/download", "mod/cache/vcs/0123abcd", "build", ".git"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o := integrity.Options{ModCache: filepath.Join(root, "mod"), BuildCache: filepath.Join(root, "build"), Volume: root, Now: time.Now(), Settle: time.Millisecond}
	r, err := repair.Run(context.Background(), o, repair.Policy{})
	if err != nil || len(r.Removed) != 2 || r.Before.Verdict != integrity.OutcomeCorrupt || r.After.Verdict != integrity.Intact {
		t.Errorf("%v: %+v", err, r)
	}
	for _, name := range []string{"mod/cache/vcs", ".git"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}
