package cachesnapshot

import (
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
	"gocache.dev/operator/internal/testing/cluster"
)

// repairedReport is the agent's report of a repair that succeeded.
const repairedReport = `{"removed":2,"before":"1 corrupt: Corrupt 1","after":` + intactReport + `}`

// endings sets how each Job ends, by its name without the prefix s-.
func (w *world) endings(by map[string]cluster.Ending) {
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		ending, ok := by[strings.TrimPrefix(job.Name, "s-")]
		if !ok {
			return nil
		}
		return &ending
	}
}

func repairable(s *v1alpha1.CacheSnapshotSpec) { s.Verification.OnCorrupt = v1alpha1.SnapshotRepair }

// snapshots returns the names of the VolumeSnapshots that exist.
func (w *world) snapshots() string {
	w.t.Helper()
	var list snapshotv1.VolumeSnapshotList
	w.must(server.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// TestRepairPublishesWhatWasVerified checks that a snapshot of the repaired clone is
// created, verified on a clone of its own, and offered. The findings stay in the
// status as evidence, and all other objects are deleted.
func TestRepairPublishesWhatWasVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{
		"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport},
	})
	w.cache()
	w.snapshot(repairable)
	var seen []string
	checks := w.cluster.Job
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		var clone corev1.PersistentVolumeClaim
		name := job.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName
		w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &clone))
		readOnly := job.Spec.Template.Spec.Containers[0].VolumeMounts[0].ReadOnly
		seen = append(seen, job.Name+" on "+name+" from "+clone.Spec.DataSource.Name+map[bool]string{true: ", read-only"}[readOnly])
		if meta.IsStatusConditionTrue(w.get().Status.Conditions, v1alpha1.VerifiedCondition) {
			t.Errorf("called verified while %s is to run", job.Name)
		}
		return checks(job)
	}
	w.settle()

	want := "s-verify on clone-UID-verify from s, read-only; s-repair on clone-UID-verify from s; s-reverify on clone-UID-reverify from s-repaired, read-only"
	if got := strings.ReplaceAll(strings.Join(seen, "; "), string(w.get().UID), "UID"); got != want {
		t.Errorf("Jobs:\n%s\nwant:\n%s", got, want)
	}
	s := w.get()
	if s.Status.VolumeSnapshotName != "s-repaired" || s.Status.Verification.Verdict != v1alpha1.VerdictIntact {
		t.Errorf("offered is %s with verdict %s", s.Status.VolumeSnapshotName, s.Status.Verification.Verdict)
	}
	r := s.Status.Repair
	if r == nil || r.Removed != 2 || r.Outcome != v1alpha1.WorkSucceeded || r.Found.Verdict != v1alpha1.VerdictCorrupt || len(r.Found.Examples) != 1 || r.Digest != "sha256:aa" {
		t.Errorf("repair %+v", r)
	}
	w.ready(v1alpha1.ReasonIntact, "2 paths of the original snapshot were removed")
	if got := w.snapshots(); got != "s-repaired" {
		t.Errorf("VolumeSnapshots %s", got)
	}
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, stage := range s.Status.Stages {
		if stage.Duration == nil {
			t.Errorf("stage %s has no end", stage.Name)
		}
	}
	reported := w.reported()
	for _, want := range []string{"SnapshotCorrupt", "RepairStarted", "Repaired", "Verified"} {
		if strings.Count(reported, " "+want+" ") != 1 {
			t.Errorf("event %s is not said once:\n%s", want, reported)
		}
	}
}

// TestWhatIsNotRepaired checks the findings that are not repaired, and the repairs
// that fail: the snapshot is not offered, and condition Stalled reports the cause.
func TestWhatIsNotRepaired(t *testing.T) {
	t.Parallel()
	mismatch := strings.NewReplacer(`"Corrupt":1`, `"ChecksumMismatch":1`, `"class":"Corrupt"`, `"class":"ChecksumMismatch"`).Replace(corruptReport)
	for name, tt := range map[string]struct {
		found, repair, again cluster.Ending
		verdict              v1alpha1.Verdict
		reason, message      string
		attempts             int32
		csi                  string
	}{
		"a mismatch with trust": {
			found: cluster.Ending{Exit: 3, Message: mismatch}, verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonCorrupt, message: "never offered", csi: "s",
		},
		"a mismatch that only the repair finds": {
			repair:  cluster.Ending{Exit: 4, Message: `{"refused":"something contradicts trust data","removed":0}`},
			verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonRepairFailed, message: "contradicts trust data", attempts: 1, csi: "s",
		},
		"what is left is wrong": {
			repair:  cluster.Ending{Exit: 3, Message: `{"removed":1,"after":` + corruptReport + `}`},
			verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonRepairFailed, message: "corrupt content remains", attempts: 1, csi: "s",
		},
		"evicted, always": {
			repair: cluster.Ending{Evicted: true}, verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonRepairFailed, message: "disrupted", attempts: verification.MaxAttempts, csi: "s",
		},
		"exit code and report disagree": {
			repair: cluster.Ending{Exit: 3, Message: repairedReport}, verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonRepairFailed, message: "reported Intact", attempts: verification.MaxAttempts, csi: "s",
		},
		"the snapshot of the repaired clone is corrupt": {
			repair: cluster.Ending{Message: repairedReport}, again: cluster.Ending{Exit: 3, Message: corruptReport},
			verdict: v1alpha1.VerdictCorrupt, reason: v1alpha1.ReasonCorrupt, message: "never offered", attempts: 1, csi: "s s-repaired",
		},
		"the verification of the repaired clone is inconclusive": {
			repair: cluster.Ending{Message: repairedReport}, again: cluster.Ending{Evicted: true},
			verdict: v1alpha1.VerdictInconclusive, reason: v1alpha1.ReasonInconclusive, message: "inconclusive", attempts: 1, csi: "s s-repaired",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.found.Message == "" {
				tt.found = cluster.Ending{Exit: 3, Message: corruptReport}
			}
			w.endings(map[string]cluster.Ending{"verify": tt.found, "repair": tt.repair, "reverify": tt.again})
			w.cache()
			w.snapshot(repairable)
			w.settle()
			s := w.get()
			if s.Status.Verification.Verdict != tt.verdict {
				t.Errorf("verdict %s, want %s", s.Status.Verification.Verdict, tt.verdict)
			}
			w.stalled(tt.reason, tt.message)
			if r := s.Status.Repair; r == nil && tt.attempts > 0 || r != nil && r.Attempts != tt.attempts {
				t.Errorf("repair %+v, want %d attempts", r, tt.attempts)
			}
			if got := w.snapshots(); got != tt.csi {
				t.Errorf("VolumeSnapshots %q, want %q", got, tt.csi)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.VerifiedCondition) || meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ReadyCondition) {
				t.Errorf("it is offered: %+v", s.Status.Conditions)
			}
		})
	}
}

// TestRepairedCloneDeletedByHand checks that the repair is run again if a user
// deletes the repaired clone before a snapshot of it is created.
func TestRepairedCloneDeletedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{
		"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport},
	})
	w.cache()
	w.snapshot(repairable)
	for range 60 {
		w.passes(1)
		if r := w.get().Status.Repair; r != nil && r.Outcome == v1alpha1.WorkSucceeded {
			break
		}
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	w.must(server.Client.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(w.namespace), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.must(server.Client.Delete(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.clone()}}))
	for range 4 {
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	w.settle()
	s := w.get()
	if s.Status.Repair.Attempts != 2 || s.Status.Verification.Verdict != v1alpha1.VerdictIntact || w.snapshots() != "s-repaired" {
		t.Errorf("status %+v, VolumeSnapshots %s", s.Status, w.snapshots())
	}
}

// TestRepairedSnapshotKeepsItsPolicy checks that the deletion policy applies to the
// CSI snapshot of the repaired clone, also after the policy was changed.
func TestRepairedSnapshotKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{
		"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport},
	})
	w.cache()
	w.snapshot(repairable)
	w.settle()
	s := w.get()
	s.Spec.DeletionPolicy = v1alpha1.DeletionRetain
	w.must(server.Client.Update(t.Context(), s))
	w.settle()
	w.must(server.Client.Delete(t.Context(), s))
	for range 4 {
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	if got := w.snapshots(); got != "s-repaired" {
		t.Errorf("VolumeSnapshots %q", got)
	}
}
