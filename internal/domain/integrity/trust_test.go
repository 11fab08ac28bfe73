package integrity_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// A module that was published twice is in the go.sum files of two builds with
// two sums: that is a fault of neither content.
func TestContradictingTrust(t *testing.T) {
	tree := cachetree.New(t)
	goSum, err := os.ReadFile(tree.GoSum())
	if err != nil {
		t.Fatal(err)
	}
	right := string(goSum)
	other := func(suffix string) string {
		var lines []string
		for line := range strings.Lines(right) {
			if f := strings.Fields(line); f[0] == cachetree.Lib.Path && strings.HasSuffix(f[1], suffix) {
				lines = append(lines, f[0]+" "+f[1]+" h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
			}
		}
		return strings.Join(lines, "\n") + "\n"
	}
	third := strings.ReplaceAll(other("0"), "47DEQ", "57DEQ")
	store := filepath.Join(tree.ModCache, "cache", "download")
	for name, c := range map[string]struct {
		trust    func(*integrity.Trust) error
		verdict  integrity.Outcome
		conflict int
		mismatch bool
	}{
		"two go.sum files": {func(trust *integrity.Trust) error {
			return join(trust.AddGoSum("blue/go.sum", strings.NewReader(right)), trust.AddGoSum("green/go.sum", strings.NewReader(other("0"))))
		}, integrity.Intact, 1, false},
		"two go.sum files, the other first": {func(trust *integrity.Trust) error {
			return join(trust.AddGoSum("green/go.sum", strings.NewReader(other("0"))), trust.AddGoSum("blue/go.sum", strings.NewReader(right)))
		}, integrity.Intact, 1, false},
		"their go.mod": {func(trust *integrity.Trust) error {
			return join(trust.AddGoSum("green/go.sum", strings.NewReader(other("/go.mod"))), trust.AddGoSum("blue/go.sum", strings.NewReader(right)))
		}, integrity.Intact, 1, false},
		"a go.sum file and what was proven": {func(trust *integrity.Trust) error {
			return join(trust.AddProven("blue/go.sum", strings.NewReader(right)), trust.AddGoSum("green/go.sum", strings.NewReader(other("0"))))
		}, integrity.Inconclusive, 1, false},
		"neither is what is there": {func(trust *integrity.Trust) error {
			return join(trust.AddGoSum("blue/go.sum", strings.NewReader(third)), trust.AddGoSum("green/go.sum", strings.NewReader(other("0"))))
		}, integrity.OutcomeCorrupt, 0, true},
		"proven otherwise": {func(trust *integrity.Trust) error {
			return join(trust.AddGoSum("blue/go.sum", strings.NewReader(right)), trust.AddProven("green/go.sum", strings.NewReader(third)), trust.AddGoSum("other/go.sum", strings.NewReader(third)))
		}, integrity.OutcomeCorrupt, 0, true},
	} {
		for kind, o := range map[string]integrity.Options{"cache": {ModCache: tree.ModCache}, "store": {Store: store, Layout: "goproxy"}} {
			o.Trust, o.Now, o.Settle = integrity.NewTrust(), time.Now(), time.Millisecond
			if err := c.trust(o.Trust); err != nil {
				t.Fatal(err)
			}
			v, err := integrity.Check(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			conflicts := v.Notes[integrity.TrustConflict] + v.Findings[integrity.TrustConflict]
			if v.Verdict != c.verdict || conflicts != c.conflict || (v.Findings[integrity.ChecksumMismatch] > 0) != c.mismatch || v.Recoverable > 0 {
				t.Errorf("%s, %s: %s: %s: %v: %+v", name, kind, v.Verdict, v.Message, v.Notes, v.Examples)
			}
			for _, e := range v.Examples {
				if e.Class == integrity.TrustConflict && (!strings.Contains(e.Detail, "blue/go.sum") || !strings.Contains(e.Detail, "green/go.sum")) {
					t.Errorf("%s, %s: %s does not name both", name, kind, e.Detail)
				}
			}
		}
	}
}

func join(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
