package cachesnapshot

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/faults"
)

// TestNotImplementedIsSaid sets each field that is not acted on, and holds that
// the snapshot says so by its name and begins nothing.
func TestNotImplementedIsSaid(t *testing.T) {
	t.Parallel()
	settings := map[string]func(*v1alpha1.CacheSnapshotSpec){
		"spec.verification.trust.firstSeen": func(s *v1alpha1.CacheSnapshotSpec) {
			s.Verification.Trust = &v1alpha1.Trust{FirstSeen: true}
		},
	}
	if len(settings) != len(NotImplemented) {
		t.Errorf("%d fields are tried, %d are not implemented", len(settings), len(NotImplemented))
	}
	for _, f := range NotImplemented {
		set, known := settings[f.Path]
		if !known {
			t.Errorf("%s is not tried", f.Path)
			continue
		}
		t.Run(f.Path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mortal := &faults.Mortal{}
			w.reconciler = w.fresh(mortal.Client(server.Client))
			w.cache()
			w.snapshot(set)
			w.settle()
			stalled := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition)
			if stalled == nil || stalled.Reason != v1alpha1.ReasonNotImplemented || !strings.HasPrefix(stalled.Message, f.Path) {
				t.Errorf("Stalled is %+v", stalled)
			}
			if len(mortal.Writes) != 1 {
				t.Errorf("it wrote %q, want its status alone", mortal.Writes)
			}
		})
	}
}

// TestAtRest holds that a snapshot with its verdict costs the API server no
// write, however often it is looked at, and few until then.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = w.now.Add(123456789) // what is stored has whole seconds only
	mortal := &faults.Mortal{}
	w.reconciler = w.fresh(mortal.Client(server.Client))
	w.cache()
	w.snapshot()
	w.settle()
	before := len(mortal.Writes)
	for range 5 {
		w.now = w.now.Add(time.Minute)
		w.settle()
	}
	if wrote := mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("at rest it wrote %q", wrote)
	}
	if before > 12 {
		t.Errorf("a snapshot takes %d writes, want 12 at most: %q", before, mortal.Writes)
	}
	t.Logf("a snapshot takes %d writes", before)
}
