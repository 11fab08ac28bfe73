package cleanup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/buildcache"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func (v *volume) digest() string {
	v.t.Helper()
	verdict, err := integrity.Check(v.t.Context(), integrity.Options{ModCache: v.ModCache, BuildCache: v.BuildCache})
	if err != nil {
		v.t.Fatal(err)
	}
	return verdict.Digest
}

// TestSealOfCleanups holds that making a plan leaves the content as the warm-up
// left it, that a plan is not applied to content that differs from that, and
// that one that is applied seals what is left.
func TestSealOfCleanups(t *testing.T) {
	v := newVolume(t)
	sealed := v.digest()
	o := v.options()
	o.Sealed = sealed
	plan := v.run(o)
	if got := v.digest(); plan.Outcome != report.Planned || got != sealed {
		t.Fatalf("%+v: the content is %s after a plan, and was %s", plan, got, sealed)
	}
	o.Approved, o.AsOf = plan.Plan.Digest, plan.Plan.AsOf

	intact, err := os.ReadFile(cachetree.ActionOf(t, v.Tree))
	if err != nil {
		t.Fatal(err)
	}
	fields, id := strings.Fields(string(intact)), strings.Repeat("00ab", 16)
	added := filepath.Join(v.BuildCache, "00", id+"-a")
	if err := os.WriteFile(added, bytes.Replace(intact, []byte(fields[1]), []byte(id), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(intact) != buildcache.EntryLen {
		t.Fatalf("an action entry of %d bytes", len(intact))
	}
	if r := v.run(o); r.Outcome != report.Failed || r.RemovedEntries != 0 || r.ManifestDigest != sealed || !strings.Contains(r.Message, "request a warm-up") {
		t.Errorf("content that the writer did not leave: %+v", r)
	}

	if err := os.Remove(added); err != nil {
		t.Fatal(err)
	}
	// The proof would compile on top of it, and the seal vouch for what comes out.
	invert := func() {
		t.Helper()
		cachetree.Edit(t, cachetree.Archive(t, v.Tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	invert()
	if r := v.run(o); r.Outcome != report.Failed || r.RemovedEntries != 0 || r.ManifestDigest != sealed || !strings.Contains(r.Message, "corrupt") {
		t.Errorf("content that is corrupt: %+v", r)
	}
	invert()
	r := v.run(o)
	if r.Outcome != report.Applied || r.ManifestDigest != v.digest() || r.ManifestDigest == sealed {
		t.Errorf("%+v", r)
	}
	verdict, err := integrity.Check(t.Context(), integrity.Options{ModCache: v.ModCache, BuildCache: v.BuildCache, Volume: v.Root, Sealed: r.ManifestDigest, Now: time.Now()})
	if err != nil || verdict.Findings[integrity.Unsealed] > 0 {
		t.Errorf("after a cleanup: %v, %+v", err, verdict.Examples)
	}
}
