package record_test

import (
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/modsum"
)

// TestSnapshots holds that checksums are added to those that are recorded, and
// that a record which cannot be used names nothing and is replaced.
func TestSnapshots(t *testing.T) {
	root := t.TempDir()
	a, b := module.Version{Path: "golang.org/fips140", Version: "v1.0.0"}, module.Version{Path: "golang.org/fips140", Version: "v1.1.0"}
	sum := func(text string) modsum.Sum { return modsum.Sum(sha256.Sum256([]byte(text))) }
	names := func(when string, want ...module.Version) {
		t.Helper()
		trust := record.ReadSnapshots(root)
		if trust.Len() != len(want) {
			t.Errorf("%s: %d checksums, want %d", when, trust.Len(), len(want))
		}
		for _, m := range want {
			if contents, _ := trust.Has(m); !contents {
				t.Errorf("%s: %s is not recorded", when, m)
			}
		}
	}
	names("a new volume")
	must(t, record.WriteSnapshots(root, nil))
	if _, err := os.Stat(record.SnapshotsPath(root)); err == nil {
		t.Error("a record of nothing was written")
	}
	must(t, record.WriteSnapshots(root, map[module.Version]modsum.Sum{a: sum("a")}))
	names("the first", a)
	must(t, record.WriteSnapshots(root, map[module.Version]modsum.Sum{b: sum("b")}))
	names("another one", a, b)
	must(t, record.WriteSnapshots(root, map[module.Version]modsum.Sum{a: sum("a of another release")}))
	names("one again", a, b)
	text, err := os.ReadFile(record.SnapshotsPath(root))
	want := a.Path + " " + a.Version + " " + sum("a of another release").String() + "\n" + b.Path + " " + b.Version + " " + sum("b").String() + "\n"
	if err != nil || string(text) != want {
		t.Errorf("%v, recorded\n%swant\n%s", err, text, want)
	}

	name := "fips140.sum"
	for what, prepare := range map[string]func(){
		"no checksum": func() { put(t, root, name, want+"no checksum\n") },
		"too large":   func() { put(t, root, name, want+strings.Repeat("\n", 64<<10)) },
		"a link": func() {
			must(t, os.Remove(record.SnapshotsPath(root)))
			link(t, root, name, want)
		},
	} {
		prepare()
		names(what)
		must(t, record.WriteSnapshots(root, map[module.Version]modsum.Sum{b: sum("b")}))
		names(what+", replaced", b)
	}
	put(t, root, name, want+strings.Repeat("\n", 64<<10-len(want)))
	names("exactly the limit", a, b)
}
