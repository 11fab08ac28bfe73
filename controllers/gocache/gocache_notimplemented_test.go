package gocache

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestNotImplementedIsSaid sets each field that is not acted on, and holds that
// the cache says so by its name and begins nothing.
func TestNotImplementedIsSaid(t *testing.T) {
	t.Parallel()
	settings := map[string]func(*v1alpha1.GoCacheSpec){
		"spec.snapshots.verification.trust.firstSeen": func(s *v1alpha1.GoCacheSpec) {
			s.Snapshots = &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Trust: &v1alpha1.Trust{FirstSeen: true}}}
		},
	}
	if len(settings) != len(NotImplemented) {
		t.Errorf("%d fields are tried, %d are not implemented", len(settings), len(NotImplemented))
	}
	for _, f := range NotImplemented {
		set, known := settings[f.Path]
		if !known {
			t.Errorf("%s is not tried", f.Path)
		}
		if set == nil {
			continue
		}
		t.Run(f.Path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache(set)
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotImplemented, f.Path+" is not implemented")
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotImplemented, f.Path)
			if len(w.mortal.Writes) != 1 {
				t.Errorf("it wrote %q, want its status alone", w.mortal.Writes)
			}
		})
	}
}

// TestAtRest holds that a cache with nothing to do costs the API server no
// write, however often it is looked at.
func TestAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.modules("one")
	w.cache(fromModules, afterWarmUp)
	w.settle()
	before := len(w.mortal.Writes)
	for range 5 {
		w.wait(sourceInterval)
	}
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("at rest it wrote %q", wrote)
	}
	if before > 16 {
		t.Errorf("from the declaration to the offer it took %d writes: %q", before, w.mortal.Writes)
	}
}
