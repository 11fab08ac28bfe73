package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	domain "gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/testing/cachetree"
)

// TestSupersededVersions holds that a version which the server replaced by the
// content that another instance had first is neither withdrawn nor compared with what
// was recorded before, and that all else still is.
func TestSupersededVersions(t *testing.T) {
	s := newShelf(t)
	var err error
	s.watch, err = store.New(store.Options{
		Flags: caches.Flags{Store: s.dir, Layout: "goproxy", Workers: 1}, State: filepath.Join(t.TempDir(), "seen.zst"),
		Withdraw: true, Clock: time.Now, Stderr: t.Output(),
	})
	must(t, err)
	putOther := func(m module.Version) (sampled probe.Sampled) {
		t.Helper()
		archive, err := cachetree.Zip(m, map[string]string{"go.mod": "module " + m.Path + "\n", "x.go": "package x // moved\n"})
		must(t, err)
		sampled = s.put(m, func(files map[string][]byte) { files["zip"] = archive })
		sampled.Zip, err = goproxy.SumZip(bytes.NewReader(archive), int64(len(archive)), 1<<20)
		must(t, err)
		return sampled
	}
	m, silent := numbered(0), numbered(1)
	was, wasSilent := putOther(m), putOther(silent)
	if got := s.sample(); len(got) != 2 {
		t.Fatalf("sample %+v", got)
	}
	root, err := os.OpenRoot(s.dir)
	must(t, err)
	defer func() { _ = root.Close() }() // read only
	must(t, domain.AddSuperseded(root, domain.Superseded{Version: m, Zip: was.Zip, Mod: was.Mod, By: "http://blue:8080", Time: time.Now()}))
	if got := s.report().Sample; slices.ContainsFunc(got, func(s probe.Sampled) bool { return s.Version == m }) || len(got) != 1 {
		t.Errorf("the report still names what is being replaced: %+v", got)
	}
	is := s.put(m)
	s.put(silent) // and that is not recorded
	v := s.watch.Check(t.Context())
	if v.Verdict != integrity.Intact || v.Withdrawn != 1 || v.WithdrawnExamples[0].Class != integrity.ChecksumMismatch || filepath.Base(v.WithdrawnExamples[0].Path) != silent.Version+".zip" {
		t.Errorf("%s, withdrew %d: %+v", v.Verdict, v.Withdrawn, v.WithdrawnExamples)
	}
	r := s.report()
	if r.Superseded == nil || r.Superseded.Version != m || r.SupersededTotal != 1 {
		t.Errorf("reported %+v, %d", r.Superseded, r.SupersededTotal)
	}
	if !slices.Contains(r.Sample, is) || slices.Contains(r.Sample, wasSilent) {
		t.Errorf("sample %+v, want %+v", r.Sample, is)
	}
	// From now on the new content is what was seen first.
	putOther(m)
	if v := s.watch.Check(t.Context()); v.Withdrawn == 0 {
		t.Errorf("the replaced content is back, and nothing was withdrawn: %+v", v)
	}
}

// TestSupersededRecord holds that it is bounded, and survives what it cannot read.
func TestSupersededRecord(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer func() { _ = root.Close() }() // read only
	if all, err := domain.ReadSuperseded(dir); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, domain.SupersededFile), []byte("{no"), 0o600))
	if _, err := domain.ReadSuperseded(dir); err == nil {
		t.Error("read what is no record")
	}
	for n := range domain.MaxSuperseded + 3 {
		must(t, domain.AddSuperseded(root, domain.Superseded{Version: module.Version{Path: numbered(n).Path, Version: "v1.0.0"}}))
	}
	all, err := domain.ReadSuperseded(dir)
	if err != nil || len(all) != domain.MaxSuperseded || all[0].Path != numbered(3).Path {
		t.Errorf("%d, %v", len(all), err)
	}
}
