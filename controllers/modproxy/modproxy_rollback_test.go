package modproxy

import (
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/rollback"
	"gocache.dev/operator/internal/testing/cluster"
)

const intact = `{"verdict":"Intact","digest":"sha256:aa","counts":{"modules":3,"zips":3},"findings":{}}`

// volumes lets the test play volumes, Jobs and StatefulSets too.
func (w *world) volumes() {
	w.cluster = &cluster.Cluster{
		Client: server.Client, Namespace: w.namespace, Now: func() time.Time { return w.now },
		Job: func(*batchv1.Job) *cluster.Ending { return &cluster.Ending{Message: intact} },
	}
}

// play does one round of what others do, and reports whether there was anything.
func (w *world) play() bool {
	w.t.Helper()
	if w.cluster == nil {
		return false
	}
	acted, err := w.cluster.Step(w.t.Context())
	w.must(err)
	for name, i := range map[string]*instance{"goproxy-blue": w.blue, "goproxy-green": w.green} {
		acted = w.playSet(name, i) || acted
	}
	return acted
}

// playSet brings an instance down and up, with what is on its volume.
func (w *world) playSet(name string, i *instance) bool {
	w.t.Helper()
	var set appsv1.StatefulSet
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &set)
	if apierrors.IsNotFound(err) {
		return false
	}
	w.must(err)
	if set.Status.ObservedGeneration == set.Generation && set.Status.Replicas == *set.Spec.Replicas {
		return false
	}
	var claim corev1.PersistentVolumeClaim
	if err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &claim); *set.Spec.Replicas == 1 && (err != nil || !volume.Bound(&claim)) {
		return false // its pod waits
	}
	set.Status = appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, Replicas: *set.Spec.Replicas}
	w.must(server.Client.Status().Update(w.t.Context(), &set))
	i.down = *set.Spec.Replicas == 0
	if !i.down {
		if i.volume != "" && i.volume != claim.Spec.VolumeName {
			i.wrong, i.rotten = i.stillWrong, i.stillWrong
		}
		i.volume = claim.Spec.VolumeName
		i.check(w.now)
	}
	return true
}

// verified makes the snapshots that were asked for what their controller makes
// of them.
func (w *world) verified() (names []string) {
	w.t.Helper()
	var list v1alpha1.CacheSnapshotList
	w.must(server.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	for i := range list.Items {
		c := &list.Items[i]
		claim := "goproxy-" + c.Spec.SourceRef.Instance
		var live corev1.PersistentVolumeClaim
		w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: claim}, &live))
		csi := volume.Snapshot{Namespace: w.namespace, Name: c.Name, Claim: claim}.Object()
		w.must(server.Client.Create(w.t.Context(), csi))
		csi.Status = &snapshotv1.VolumeSnapshotStatus{
			ReadyToUse: ptr.To(true), CreationTime: ptr.To(metav1.NewTime(w.now)), BoundVolumeSnapshotContentName: ptr.To("content-" + c.Name),
		}
		w.must(server.Client.Status().Update(w.t.Context(), csi))
		c.Status.CreationTime = ptr.To(metav1.NewTime(w.now))
		volume.Pin(&c.Status, csi, nil)
		c.Status.RestoreSize = ptr.To(resource.MustParse("1Gi"))
		c.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: claim, VolumeName: live.Spec.VolumeName, Layout: "goproxy", Capacity: ptr.To(resource.MustParse("1Gi"))}
		c.Status.Verification.Digest, c.Status.Verification.Verdict = "sha256:aa", v1alpha1.VerdictIntact
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.VerifiedCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIntact})
		w.must(server.Client.Status().Update(w.t.Context(), c))
		names = append(names, c.Name)
	}
	return names
}

// guarded is a proxy that serves, with volumes, and rolls back.
func (w *world) guarded(change ...func(*v1alpha1.ModProxySpec)) {
	w.t.Helper()
	w.volumes()
	w.serving(append(change, func(s *v1alpha1.ModProxySpec) { s.Integrity.OnCorrupt = v1alpha1.StoreRollback })...)
}

// poison the store of blue, and have it found.
func (w *world) poison() {
	w.now = w.now.Add(time.Minute)
	w.blue.rotten, w.blue.wrong = true, true
	w.blue.check(w.now)
}

// TestRollback follows a poisoned store until its instance serves again with
// its whole weight, without a person.
func TestRollback(t *testing.T) {
	t.Parallel()
	for name, withSnapshot := range map[string]bool{"to a snapshot": true, "to an empty store": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.guarded()
			if withSnapshot {
				w.request("snapshot-1", v1alpha1.RequestSnapshot)
				w.answered("snapshot-1", v1alpha1.RequestSucceeded, "created CacheSnapshots")
				if names := w.verified(); len(names) != 2 {
					t.Fatalf("snapshots %q", names)
				}
				w.tick(1)
			}
			before := w.blue.volume
			w.poison()
			w.tick(1)
			w.weights(0, 100)
			if !w.quarantined("blue") {
				t.Fatal("blue is not quarantined")
			}
			for range 40 {
				w.tick(1)
				if rb := pass.Instance(w.get(), "blue").Rollback; rb != nil && rb.CompletionTime != nil {
					break
				}
			}
			w.weights(100, 100)
			blue := pass.Instance(w.get(), "blue")
			rb := blue.Rollback
			if rb == nil || rb.CompletionTime == nil || rb.VerifiedTime == nil || rb.ReplacedTime == nil || rb.Failed || rb.Attempt != 1 || (rb.Snapshot != "") != withSnapshot {
				t.Fatalf("rollback %+v", rb)
			}
			if blue.Quarantined != nil || blue.VolumeReplacement != nil || blue.Content == nil || blue.Content.Snapshot != rb.Snapshot || w.blue.volume == before {
				t.Errorf("blue is %+v, on volume %s", blue, w.blue.volume)
			}
			if len(w.get().Finalizers) != 0 {
				t.Errorf("finalizers %q are left", w.get().Finalizers)
			}
			recorded := w.recorded()
			for _, want := range []string{"InstanceQuarantined", "RollbackStarted", "StoreReplaced", "RollbackVerified", "RollbackCompleted"} {
				if strings.Count(recorded, want) != 1 {
					t.Errorf("%d events %s: %s", strings.Count(recorded, want), want, recorded)
				}
			}
		})
	}
}

// TestRollbackThatDoesNotHelp holds that an instance whose new stores are corrupt
// too stays out, and that an event reports it.
func TestRollbackThatDoesNotHelp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.guarded()
	w.blue.stillWrong = true
	w.poison()
	for range 20 {
		w.tick(1)
		if blue := pass.Instance(w.get(), "blue"); blue.Quarantined == nil && len(w.recorded()) > 0 && blue.Rollback != nil {
			t.Fatal("blue was let in")
		}
	}
	blue := pass.Instance(w.get(), "blue")
	if blue.Rollback == nil || !blue.Rollback.Failed || !strings.Contains(blue.Rollback.Message, "the new store is wrong too") {
		t.Errorf("rollback %+v", blue.Rollback)
	}
	w.weights(0, 100)
}

// TestRelapse holds that a store that turns bad again is not replaced at once,
// and that condition and event report it.
func TestRelapse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.guarded(func(s *v1alpha1.ModProxySpec) {
		s.Failover.Failback.HoldDown, s.Failover.Failback.Steps = &metav1.Duration{}, []int32{100}
	})
	w.poison()
	w.recover()
	w.recorded()
	second := w.blue.volume
	w.poison()
	w.tick(3)
	w.weights(0, 100)
	blue := pass.Instance(w.get(), "blue")
	if rb := blue.Rollback; rb == nil || rb.Attempt != 0 || rb.Relapses != 1 || rb.NotBefore == nil || blue.VolumeReplacement != nil || w.blue.volume != second {
		t.Errorf("blue is %+v, on volume %s", blue, w.blue.volume)
	}
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "rollback: postponed until ")
	if recorded := w.recorded(); strings.Count(recorded, "RollbackPostponed") != 1 || strings.Contains(recorded, "RollbackStarted") {
		t.Errorf("events %s", recorded)
	}
	w.now = w.now.Add(rollback.FirstPause)
	w.recover()
	w.weights(100, 100)
	if rb := pass.Instance(w.get(), "blue").Rollback; rb.Relapses != 1 || w.blue.volume == second {
		t.Errorf("rollback %+v", rb)
	}
}

// TestQuarantine holds that nothing is replaced unless it is asked for.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.volumes()
	w.serving()
	before := w.blue.volume
	w.poison()
	w.tick(10)
	if blue := pass.Instance(w.get(), "blue"); blue.Rollback != nil || blue.Quarantined == nil || w.blue.volume != before {
		t.Errorf("blue is %+v", blue)
	}
}
