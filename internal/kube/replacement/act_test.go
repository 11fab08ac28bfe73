package replacement_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
)

// TestWriteFails holds that a write that fails ends the pass with its error,
// whichever of a replacement's writes it is, and that later passes go on from
// there to the end.
func TestWriteFails(t *testing.T) {
	n := 0
	for failed := true; failed; {
		n++
		failed = replaceWithout(t, n)
	}
	if n != 15 {
		t.Errorf("a replacement has %d writes, want 14", n-1)
	}
}

// replaceWithout replaces a volume while the nth write fails, and reports
// whether there was one.
func replaceWithout(t *testing.T, n int) bool {
	t.Helper()
	w := newWorld(t)
	w.facts.Keep = true
	writes, failed := 0, ""
	w.fail = func(verb, kind, name string) error {
		if verb == "get" || verb == "list" {
			return nil
		}
		if writes++; writes == n {
			failed = verb + " " + kind + " " + name
			return errBroken
		}
		return nil
	}
	for range 20 {
		out, _, err := w.tryAdvance()
		if wrote := writes == n && err != nil; err != nil && !(wrote && errors.Is(err, errBroken)) {
			t.Fatalf("write %d (%s): %v", n, failed, err)
		}
		if err == nil && out.Decision.Step == replacement.RecordCheck {
			w.record(out, v1alpha1.VerdictIntact)
		}
		if err == nil && out.Decision.Step == replacement.Finish {
			return failed != ""
		}
		w.settle()
	}
	t.Fatalf("write %d (%s): the replacement does not end", n, failed)
	return false
}

// TestInconclusive holds that after a check without a verdict the new volume and
// its Job are removed, and made again after a pause.
func TestInconclusive(t *testing.T) {
	w := newWorld(t)
	w.at(replacement.WaitForCheck, "apply PersistentVolumeClaim ci-next", "create Job ci-next")
	w.controllers(1)
	w.record(w.at(replacement.RecordCheck), v1alpha1.VerdictInconclusive)
	w.at(replacement.ClearCheck, "delete Job ci-next", "delete PersistentVolumeClaim ci-next")
	w.at(replacement.ClearCheck) // a pod is left
	w.collect()
	out := w.at(replacement.WaitForRetry)
	if out.Decision.After <= 0 {
		t.Errorf("decision %+v", out.Decision)
	}
}

// TestCorrupt holds that a new volume that is Corrupt is removed, and the live
// one never touched.
func TestCorrupt(t *testing.T) {
	w := newWorld(t)
	w.advance()
	w.controllers(3)
	w.record(w.at(replacement.RecordCheck), v1alpha1.VerdictCorrupt)
	w.at(replacement.ClearCheck, "delete Job ci-next")
	w.collect()
	w.at(replacement.Abandon, "delete PersistentVolumeClaim ci-next")
	if v := get[corev1.PersistentVolume](w, "old"); len(v.Annotations) > 0 {
		t.Errorf("the old volume: %+v", v)
	}
}

// TestSourceIsRemoved holds that what a new volume was copied from goes after
// the Job's pods, which have it mounted.
func TestSourceIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.run.Intent.Copied = true
	w.at(replacement.WaitForCheck, "apply PersistentVolumeClaim ci-next", "apply PersistentVolumeClaim ci-next-source", "create Job ci-next")
	pvc := get[corev1.PersistentVolumeClaim](w, "ci-next-source")
	pvc.Spec.VolumeName = "source"
	w.must(w.client.Update(t.Context(), pvc))
	w.must(w.client.Create(t.Context(), volumeFor(pvc, "source")))
	w.controllers(0)
	w.record(w.at(replacement.RecordCheck), v1alpha1.VerdictIntact)
	w.advance()
	w.reload()
	w.at(replacement.ClearCheck)
	w.collect()
	w.at(replacement.WaitForLive, "delete PersistentVolumeClaim ci-next-source",
		"delete PersistentVolumeClaim ci-next", "patch PersistentVolume new", "delete PersistentVolumeClaim ci", "create PersistentVolumeClaim ci")
}

// TestNewVolumeIsLost holds that the old volume is put back in its place if the
// new one vanishes when the live PVC is gone already.
func TestNewVolumeIsLost(t *testing.T) {
	w := prepared(t, nil)
	w.advance()
	w.settle()
	w.fail = func(verb, kind, _ string) error {
		if verb == "create" && kind == "PersistentVolumeClaim" {
			return errBroken
		}
		return nil
	}
	if _, _, err := w.tryAdvance(); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	w.fail = nil
	w.must(w.client.Delete(t.Context(), get[corev1.PersistentVolume](w, "new")))
	out := w.at(replacement.GiveUp, "patch PersistentVolume old", "create PersistentVolumeClaim ci")
	w.run.Intent.Failure = out.Decision.Detail
	w.at(replacement.WaitForLive)
	w.controllers(0)
	w.at(replacement.Abandon, "patch PersistentVolume old")
	if c := get[corev1.PersistentVolumeClaim](w, "ci"); c.Spec.VolumeName != "old" || *c.Spec.StorageClassName != "of-old" {
		t.Errorf("the live PVC: %+v", c.Spec)
	}
}

// TestCachePVCChanges holds that the live PVC is not deleted if it was changed
// since it was read, and that another one of its name is never taken for it.
func TestCachePVCChanges(t *testing.T) {
	w := prepared(t, nil)
	w.advance()
	w.settle()
	w.fail = func(verb, kind, name string) error {
		if verb == "delete" && kind == "PersistentVolumeClaim" && name == "ci" {
			live := get[corev1.PersistentVolumeClaim](w, "ci")
			if live.Annotations == nil {
				live.Annotations = map[string]string{"changed": "meanwhile"}
				w.must(w.client.Update(t.Context(), live))
			}
		}
		return nil
	}
	w.passing = true
	o, err := w.run.Observe(t.Context())
	w.must(err)
	_, err = w.run.Act(t.Context(), o, replacement.Decision{Step: replacement.DropLive})
	w.must(err)
	if get[corev1.PersistentVolumeClaim](w, "ci") == nil {
		t.Fatal("it was deleted")
	}
	// One that a user creates while it is away is reported.
	o.Live = nil
	_, err = w.run.Act(t.Context(), o, replacement.Decision{Step: replacement.MakeLive, Volume: "new"})
	var conflict *apply.ConflictError
	if !errors.As(err, &conflict) || conflict.Kind != "PersistentVolumeClaim" || conflict.Name != "ci" {
		t.Errorf("error %v", err)
	}
}

// TestEvict holds that all consumers are evicted, that the first objection is
// reported by the pod's name, and that the owner's pods are never evicted.
func TestEvict(t *testing.T) {
	budget := apierrors.NewTooManyRequests("the budget is used up", 1)
	for _, tt := range []struct {
		name      string
		answers   map[string]error // by pod
		evicted   []string
		objection string
		want      error
	}{
		{"none objects", nil, []string{"a", "b", "c"}, "", nil},
		{"one objects", map[string]error{"b": budget}, []string{"a", "b", "c"}, "pod b: the budget is used up", nil},
		{"two object", map[string]error{"b": budget, "c": budget}, []string{"a", "b", "c"}, "pod b: the budget is used up", nil},
		{"one cannot be asked", map[string]error{"a": budget, "b": errBroken}, []string{"a", "b"}, "pod a: the budget is used up", errBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, mounting("c", "ci", nil), mounting("a", "ci", nil), mounting("b", "ci", nil), mounting("own", "ci", ours()))
			w.run.OwnPod = func(p *corev1.Pod) bool { return p.Name == "own" }
			var asked []string
			w.fail = func(verb, _, name string) error {
				if verb != "eviction" {
					return nil
				}
				asked = append(asked, name)
				return tt.answers[name]
			}
			w.passing = true
			o, err := w.run.Observe(t.Context())
			w.must(err)
			objection, err := w.run.Act(t.Context(), o, replacement.Decision{Step: replacement.Evict})
			if objection != tt.objection || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("objection %q, %v; want %q, %v", objection, err, tt.objection, tt.want)
			}
			if !slices.Equal(asked, tt.evicted) {
				t.Errorf("evicted %v, want %v", asked, tt.evicted)
			}
		})
	}
}

// TestWaitingChangesNothing holds that Act writes nothing for a step that waits
// or that is the caller's.
func TestWaitingChangesNothing(t *testing.T) {
	w := newWorld(t, mounting("a", "ci", nil))
	w.passing = true
	o, err := w.run.Observe(t.Context())
	w.must(err)
	for _, step := range []replacement.Step{
		replacement.WaitForSource, replacement.WaitForCheck, replacement.WaitForRetry, replacement.WaitForIdle, replacement.WaitForConsumers, replacement.WaitForNextDeleted, replacement.WaitForLiveDeleted,
		replacement.WaitForLive, replacement.WaitForPreviousDeleted, replacement.WaitForPrevious, replacement.RecordCheck, replacement.RecordOld, replacement.GiveUp, replacement.Finish, replacement.Abandon,
	} {
		if objection, err := w.run.Act(t.Context(), o, replacement.Decision{Step: step}); objection != "" || err != nil || len(w.writes) > 0 {
			t.Errorf("%s: %q, %v, written %v", step, objection, err, w.writes)
		}
		d := replacement.Decision{Step: step}
		if d.Waits() == d.ChangesIntent() {
			t.Errorf("%s: it waits: %v, and changes the intent: %v", step, d.Waits(), d.ChangesIntent())
		}
	}
}

// TestNamespaceTerminates holds that a replacement in a namespace that goes is
// given up: nothing can be created in it any more, and no error ends that. What is
// forbidden for another reason is waited for.
func TestNamespaceTerminates(t *testing.T) {
	terminating := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "ci-next", errBroken)
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	w := newWorld(t)
	w.fail = func(verb, _, _ string) error {
		if verb == "apply" || verb == "create" {
			return terminating
		}
		return nil
	}
	w.at(replacement.Abandon)

	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "ci-next", errBroken)
	w = newWorld(t)
	w.fail = func(verb, _, _ string) error {
		if verb == "apply" {
			return forbidden
		}
		return nil
	}
	w.run.Intent.StartTime = metav1.NewTime(w.facts.Now)
	if out, _, err := w.tryAdvance(); err != nil || out.Decision.Step != replacement.WaitForAdmission || !strings.Contains(out.Decision.Detail, errBroken.Error()) {
		t.Errorf("forbidden for another reason: %+v, %v", out.Decision, err)
	}
}

// TestCompleteFails holds that nothing is decided on facts that are incomplete.
func TestCompleteFails(t *testing.T) {
	w := newWorld(t)
	w.passing = true
	_, err := w.run.Advance(t.Context(), func(context.Context, replacementrun.Observed, *replacement.Observation) error { return errBroken })
	if !errors.Is(err, errBroken) || len(w.writes) > 0 {
		t.Errorf("error %v, written %v", err, w.writes)
	}
}

// TestRelease holds that a finalizer is taken off on top of what was read, and
// the owner can be written again afterwards.
func TestRelease(t *testing.T) {
	owner := func(w *world) *v1alpha1.GoCache { return get[v1alpha1.GoCache](w, "ci") }
	w := newWorld(t)
	w.passing = true
	if err := replacementrun.Release(t.Context(), w.client, owner(w)); err != nil || len(w.writes) > 0 {
		t.Fatalf("without the finalizer: %v, written %v", err, w.writes)
	}
	held := owner(w)
	held.Finalizers = []string{"another", v1alpha1.VolumeReplacementFinalizer}
	w.must(w.client.Update(t.Context(), held))
	stale := owner(w)
	o := owner(w)
	w.must(replacementrun.Release(t.Context(), w.client, o))
	if got := owner(w); !slices.Equal(got.Finalizers, []string{"another"}) || !slices.Equal(o.Finalizers, got.Finalizers) || o.ResourceVersion != got.ResourceVersion {
		t.Errorf("finalizers %v; returned %v of version %s, want %s", got.Finalizers, o.Finalizers, o.ResourceVersion, got.ResourceVersion)
	}
	if err := replacementrun.Release(t.Context(), w.client, stale); !apierrors.IsConflict(err) {
		t.Errorf("on what has changed since: %v", err)
	}
	gone := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "gone", ResourceVersion: "1", Finalizers: []string{v1alpha1.VolumeReplacementFinalizer}}}
	if err := replacementrun.Release(t.Context(), w.client, gone); err != nil {
		t.Errorf("gone: %v", err)
	}
	w.fail = func(string, string, string) error { return errBroken }
	if err := replacementrun.Release(t.Context(), w.client, stale); !errors.Is(err, errBroken) {
		t.Errorf("the write fails: %v", err)
	}
}
