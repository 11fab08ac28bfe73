package replacement_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/replacement"
)

// prepared is a world in which the new volume was verified, and named in the
// intent.
func prepared(t *testing.T, change func(*world)) *world {
	t.Helper()
	w := newWorld(t)
	if change != nil {
		change(w)
	}
	w.at(replacement.WaitForCheck, "apply PersistentVolumeClaim ci-next", "create Job ci-next")
	w.controllers(0)
	out := w.at(replacement.RecordCheck)
	if out.Check.ExitCode == nil || *out.Check.ExitCode != 0 {
		t.Fatalf("the check ended with %+v", out.Check)
	}
	w.record(out, v1alpha1.VerdictIntact)
	return w
}

// TestReplacement walks through a whole replacement of a volume, and holds the
// order of its writes: neither volume can be lost after any of them.
func TestReplacement(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep bool
	}{{"the old volume is freed", false}, {"the old volume is kept", true}} {
		t.Run(tt.name, func(t *testing.T) {
			w := prepared(t, func(w *world) { w.facts.Keep = tt.keep })
			w.at(replacement.ClearCheck,
				"patch GoCache ci", "patch PersistentVolume new", "patch PersistentVolume old", "delete Job ci-next")
			for _, name := range []string{"old", "new"} {
				if v := get[corev1.PersistentVolume](w, name); v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
					t.Fatalf("volume %s is not secured: %+v", name, v.Spec)
				}
			}
			w.reload()
			w.at(replacement.ClearCheck) // its pod still has the new volume mounted
			w.collect()
			w.at(replacement.WaitForLive,
				"delete PersistentVolumeClaim ci-next", "patch PersistentVolume new", "delete PersistentVolumeClaim ci", "create PersistentVolumeClaim ci")
			w.controllers(0)
			if tt.keep {
				w.at(replacement.WaitForPrevious, "patch PersistentVolume new", "patch PersistentVolume old", "create PersistentVolumeClaim ci-previous")
				w.controllers(0)
				w.at(replacement.Finish, "patch PersistentVolume old")
				if c := get[corev1.PersistentVolumeClaim](w, "ci-previous"); c == nil || c.Spec.VolumeName != "old" {
					t.Errorf("the previous PVC: %+v", c)
				}
			} else {
				w.at(replacement.Finish, "patch PersistentVolume new", "patch PersistentVolume old")
			}
			if c := get[corev1.PersistentVolumeClaim](w, "ci"); c.Spec.VolumeName != "new" {
				t.Errorf("the live PVC has volume %s", c.Spec.VolumeName)
			}
			for _, name := range []string{"old", "new"} {
				v := get[corev1.PersistentVolume](w, name)
				if v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || len(v.Annotations) > 0 {
					t.Errorf("volume %s was not freed: %s, %v", name, v.Spec.PersistentVolumeReclaimPolicy, v.Annotations)
				}
			}
			if c := get[corev1.PersistentVolumeClaim](w, "ci-next"); c != nil {
				t.Errorf("the next PVC is left: %+v", c)
			}
		})
	}
}

// TestCachePVC holds what the PVC is like that takes the place of the old one.
func TestCachePVC(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     string
		detached bool
		want     string
	}{
		{"smaller than its volume", "5Gi", true, "5Gi"},
		{"as large as its volume", "10Gi", true, "10Gi"},
		{"larger than its volume", "20Gi", true, "10Gi"}, // the cluster would never bind it
		{"it goes with its owner", "5Gi", false, "5Gi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := prepared(t, func(w *world) {
				w.run.Detached = tt.detached
				*w.run.Intent.Size = resource.MustParse(tt.size)
				w.facts.Keep = true
			})
			w.advance()
			w.collect()
			w.reload()
			w.advance()
			live := get[corev1.PersistentVolumeClaim](w, "ci")
			if size := live.Spec.Resources.Requests[corev1.ResourceStorage]; size.Cmp(resource.MustParse(tt.want)) != 0 {
				t.Errorf("size %s, want %s", size.String(), tt.want)
			}
			if live.Spec.VolumeName != "new" || *live.Spec.StorageClassName != "of-new" || live.Spec.AccessModes[0] != corev1.ReadWriteOncePod {
				t.Errorf("spec %+v", live.Spec)
			}
			wantLabels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
			if diff := cmp.Diff(wantLabels, live.Labels); diff != "" {
				t.Errorf("labels: %s", diff)
			}
			if owned := len(live.OwnerReferences) == 1 && live.OwnerReferences[0].UID == "owner-uid"; owned == tt.detached {
				t.Errorf("owned by %+v", live.OwnerReferences)
			}
			w.controllers(0)
			w.advance()
			previous := get[corev1.PersistentVolumeClaim](w, "ci-previous")
			if size := previous.Spec.Resources.Requests[corev1.ResourceStorage]; size.Cmp(resource.MustParse("10Gi")) != 0 {
				t.Errorf("the previous PVC has size %s", size.String())
			}
			if previous.Spec.AccessModes[0] != corev1.ReadWriteOnce || *previous.Spec.StorageClassName != "of-old" {
				t.Errorf("the previous PVC: %+v", previous.Spec)
			}
		})
	}
}

// TestForgedCheck holds that a Job that another client created in place of the
// one that checks the new volume gives no verdict, and that the Job of the
// operator does, also if a crash has lost its uid.
func TestForgedCheck(t *testing.T) {
	w := newWorld(t)
	w.at(replacement.WaitForCheck, "apply PersistentVolumeClaim ci-next", "create Job ci-next")
	own := get[batchv1.Job](w, "ci-next")
	if w.run.Intent.JobUID != string(own.UID) {
		t.Errorf("the recorded uid is %q, want %s", w.run.Intent.JobUID, own.UID)
	}
	w.run.Intent.JobUID = "" // lost in a crash
	w.controllers(0)
	if out := w.at(replacement.RecordCheck); !out.Check.Conclusive() {
		t.Errorf("the operator's own: %+v", out.Check)
	}
	forged := own.DeepCopy()
	forged.ResourceVersion, forged.UID, forged.Status = "", "", batchv1.JobStatus{}
	forged.Spec.Template.Spec.Containers[0].Image = "forger"
	w.must(w.client.Delete(t.Context(), own))
	w.collect()
	w.must(w.client.Create(t.Context(), forged))
	w.controllers(0)
	if out := w.at(replacement.RecordCheck); out.Check.Conclusive() || !strings.Contains(out.Check.Cause, "is not the one that the operator created (the image of container agent)") {
		t.Errorf("forged: %+v", out.Check)
	}
}

// TestCheckWithoutSnapshot holds that no outcome of a Job counts whose uid was lost, while what
// it would be compared with cannot be known: the CacheSnapshot is gone, or was not created from
// anything that is recorded.
func TestCheckWithoutSnapshot(t *testing.T) {
	for name, change := range map[string]func(*world){
		"it is gone":       func(w *world) { w.run.Content.Snapshot = nil },
		"without a record": func(w *world) { w.run.Content.Snapshot.Status.Source = nil },
	} {
		w := newWorld(t)
		w.at(replacement.WaitForCheck, "apply PersistentVolumeClaim ci-next", "create Job ci-next")
		w.run.Intent.JobUID = "" // lost in a crash
		w.controllers(0)
		change(w)
		o, err := w.run.Observe(t.Context())
		if err != nil || o.Check.Conclusive() || !strings.Contains(o.Check.Cause, "its CacheSnapshot is gone") {
			t.Errorf("%s: %+v, %v", name, o.Check, err)
		}
	}
}
