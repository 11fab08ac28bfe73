package gocache

import (
	"context"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
)

// pools is a cache with a pool.
func pools(size int32) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		afterWarmUp(s)
		s.Pool = &v1alpha1.CachePool{Size: size}
	}
}

// poolEnd is what must be the same of a pool however often the manager is killed.
type poolEnd struct {
	Declared                     bool
	Ready, Members, PVCs, Jobs   int
	Snapshot, Capacity, Consumer string
}

func (w *world) poolEnd() poolEnd {
	w.t.Helper()
	var e poolEnd
	for _, pvc := range w.poolPVCs() {
		if pvc.DeletionTimestamp.IsZero() {
			e.PVCs++
		}
	}
	var jobs batchv1.JobList
	w.must(server.Client.List(w.t.Context(), &jobs, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.PoolLabel}))
	e.Jobs = len(jobs.Items)
	if exists[corev1.PersistentVolumeClaim](w, "consumer") {
		e.Consumer = string(get[corev1.PersistentVolumeClaim](w, "consumer").Status.Phase)
	}
	status := w.get().Status.Pool
	if status == nil {
		return e
	}
	e.Declared, e.Ready, e.Members, e.Capacity = true, int(status.Ready), len(status.Members), status.Capacity.String()
	for _, m := range status.Members {
		if !strings.Contains(e.Snapshot, m.Snapshot) {
			e.Snapshot += m.Snapshot
		}
	}
	if e.Snapshot == w.get().Status.LatestVerifiedSnapshot {
		e.Snapshot = "offered" // its name depends on the time
	}
	return e
}

func (w *world) poolPVCs() []corev1.PersistentVolumeClaim {
	w.t.Helper()
	var list corev1.PersistentVolumeClaimList
	w.must(server.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.PoolLabel}))
	return list.Items
}

// slot is the name of a member of the pool.
func (w *world) slot(n int) string { return pool.Name(w.get(), n) }

// consume plays the populator that gives the volume of a member to a consumer.
func (w *world) consume(member string) {
	w.t.Helper()
	pvc := get[corev1.PersistentVolumeClaim](w, member)
	pv := &corev1.PersistentVolume{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: pvc.Spec.VolumeName}, pv))
	consumer := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "consumer"},
		Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: pvc.Spec.AccessModes, StorageClassName: pvc.Spec.StorageClassName, Resources: pvc.Spec.Resources},
	}
	consumer.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: v1alpha1.GoCacheKind, Name: "ci"}
	w.must(server.Client.Create(w.t.Context(), consumer))
	w.must(volume.HandOver(w.t.Context(), server.Client, pv, pvc, consumer, w.get().Status.LatestVerifiedSnapshot, "test"))
}

// poolFlows are the flows of a pool in the crash suite.
func poolFlows() map[string]func(w *world, die func()) {
	return map[string]func(w *world, die func()){
		// from the first snapshot until the pool is filled
		"pool": func(w *world, die func()) {
			w.cache(afterWarmUp)
			w.settle()
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 2} })
			w.settle()
		},
		// a volume is taken, and made again
		"pool taken": func(w *world, die func()) {
			w.cache(pools(2))
			w.settle()
			die()
			w.consume(w.slot(0))
			w.settle()
		},
		// another snapshot is offered
		"pool superseded": func(w *world, die func()) {
			w.cache(pools(1))
			w.settle()
			w.now = w.now.Add(time.Minute)
			die()
			w.request("snapshot-1", v1alpha1.RequestSnapshot)
			w.settle()
		},
		// a volume does not hold what was verified, and the next one does
		"pool fails": func(w *world, die func()) {
			w.cache(afterWarmUp)
			w.settle()
			w.pooled = intactWith("sha256:bb")
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
			w.settle()
			w.pooled = intactWith(contentDigest)
			w.wait(time.Minute)
		},
		// the pool is given up while a volume is being read
		"pool removed": func(w *world, die func()) {
			w.cache(pools(2))
			w.settle()
			w.pooled = nil
			w.consume(w.slot(1))
			w.settle()
			die()
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = nil })
			w.settle()
		},
	}
}

// TestPool holds that a pool is filled with volumes that were read, that nothing is left
// of how they were made, and that a filled pool costs no write.
func TestPool(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(2))
	w.settle()
	if got, want := w.poolEnd(), (poolEnd{Declared: true, Ready: 2, Members: 2, PVCs: 2, Snapshot: "offered", Capacity: "2Gi"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "2 of 2 volumes are ready; all volumes of the pool have 2Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if all := w.newEvents(); strings.Count(all, v1alpha1.ReasonPoolFilled) != 1 {
		t.Errorf("events:\n%s", all)
	}
	for _, m := range w.get().Status.Pool.Members {
		pvc := get[corev1.PersistentVolumeClaim](w, m.Name)
		if m.State != v1alpha1.PoolMemberReady || m.UID != string(pvc.UID) || m.VolumeName != pvc.Spec.VolumeName || m.ReadyTime == nil || pvc.Spec.DataSource == nil {
			t.Errorf("%+v of %+v", m, pvc.Spec)
		}
	}
	wrote := len(w.mortal.Writes)
	w.must(w.pass())
	if rest := w.mortal.Writes[wrote:]; len(rest) > 0 {
		t.Errorf("a filled pool writes %q", rest)
	}
	if due := w.last.RequeueAfter; due <= time.Hour && due != 0 && due < time.Minute {
		t.Errorf("looks again after %s", due)
	}
}

// TestPoolReadsOneAfterAnother holds that a restore at a time is asked of the storage,
// and that no volume counts before it was read.
func TestPoolReadsOneAfterAnother(t *testing.T) {
	w := newWorld(t)
	w.pooled = nil
	w.cache(pools(3))
	w.settle()
	if got := w.poolEnd(); got.PVCs != 1 || got.Jobs != 1 || got.Ready != 0 {
		t.Errorf("%+v", got)
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "0 of 3")
	job := get[batchv1.Job](w, w.slot(0))
	mount := job.Spec.Template.Spec.Containers[0].VolumeMounts[0]
	if command := strings.Join(job.Spec.Template.Spec.Containers[0].Command, " "); !mount.ReadOnly || !strings.Contains(command, "verify") {
		t.Errorf("%s with %+v", command, mount)
	}
}

// TestPoolDiscards holds what makes a volume useless, and that another takes its place.
func TestPoolDiscards(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world)
		want   string // of an event
		ready  int
	}{
		"another snapshot is offered": {func(w *world) {
			w.now = w.now.Add(time.Minute)
			w.request("snapshot-1", v1alpha1.RequestSnapshot)
		}, "consumers get CacheSnapshot", 1},
		"the snapshot is Corrupt": {func(w *world) {
			for _, s := range w.snapshots() {
				s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
				meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: v1alpha1.VerifiedCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonCorrupt})
				w.must(server.Client.Status().Update(w.t.Context(), &s))
			}
			w.slow = true // none takes its place
		}, "is not a verified one any more", 0},
		"it is old": {func(w *world) { w.now = w.now.Add(168 * time.Hour) }, "spec.pool.maxAge", 1},
		"larger ones are asked for": {func(w *world) {
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool.Storage.Size = ptr.To(resource.MustParse("2Gi")) })
		}, "the volumes of the pool have 2Gi now", 1},
		"other access modes are asked for": {func(w *world) {
			w.edit(func(c *v1alpha1.GoCache) {
				c.Spec.Pool.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
			})
		}, "other access modes", 1},
		"another pod mounts it": {func(w *world) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nosy"}}
			pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.slot(0)}}}}
			w.must(server.Client.Create(w.t.Context(), pod))
		}, "pod nosy mounts it", 0},
		"another client created it": {func(w *world) {
			pvc := get[corev1.PersistentVolumeClaim](w, w.slot(0))
			forged := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
				Namespace: pvc.Namespace, Name: w.slot(1), Labels: pvc.Labels, Annotations: pvc.Annotations, OwnerReferences: pvc.OwnerReferences,
			}, Spec: pvc.Spec}
			forged.Spec.VolumeName = ""
			w.must(server.Client.Create(w.t.Context(), forged))
		}, "has no record", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cache(pools(1))
			w.settle()
			was := get[corev1.PersistentVolumeClaim](w, w.slot(0)).UID
			w.newEvents()
			tt.change(w)
			w.settle()
			if all := w.newEvents(); !strings.Contains(all, tt.want) {
				t.Errorf("no event with %q:\n%s", tt.want, all)
			}
			if got := w.poolEnd(); got.Ready != tt.ready || got.PVCs > 1 {
				t.Errorf("%+v", got)
			}
			if tt.want != "has no record" && exists[corev1.PersistentVolumeClaim](w, w.slot(0)) {
				if pvc := get[corev1.PersistentVolumeClaim](w, w.slot(0)); pvc.UID == was && pvc.DeletionTimestamp.IsZero() {
					t.Error("it is still there")
				}
			}
		})
	}
}

// TestPoolFails holds that a volume which does not hold what was verified is discarded,
// that it is tried again after a pause, and that the cache can be used meanwhile.
func TestPoolFails(t *testing.T) {
	for name, ending := range map[string]*cluster.Ending{
		"corrupt": {Exit: 3, Message: `{"verdict":"Corrupt","message":"1 corrupt: FlippedZip 1","corrupt":1,"findings":{"FlippedZip":1}}`},
		"other":   intactWith("sha256:bb"),
		"evicted": {Evicted: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pooled = ending
			w.cache(pools(1))
			w.settle()
			if got := w.poolEnd(); got.Ready != 0 || got.PVCs != 0 || got.Jobs != 0 {
				t.Errorf("%+v", got)
			}
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFailing, "1 in a row")
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
			if due := w.last.RequeueAfter; due <= 0 || due > time.Minute {
				t.Errorf("tried again after %s", due)
			}
			w.pooled = intactWith(contentDigest)
			w.wait(time.Minute)
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
			if is := w.get().Status.Pool; is.Failures != 0 || is.Message != "" {
				t.Errorf("%+v", is)
			}
		})
	}
}

// TestPoolAssigned holds that a taken volume stays with its consumer, and is made again,
// and that the member stays as long as the PVC of the consumer is not bound.
func TestPoolAssigned(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(1))
	w.settle()
	given := get[corev1.PersistentVolumeClaim](w, w.slot(0))
	w.consume(w.slot(0))
	w.must(w.pass())
	if now := get[corev1.PersistentVolumeClaim](w, w.slot(0)); now.UID != given.UID || !now.DeletionTimestamp.IsZero() {
		t.Error("the member is gone before its consumer is bound")
	}
	if is := w.get().Status.Pool; is.Ready != 0 || is.Members[0].State != v1alpha1.PoolMemberAssigned || !is.Capacity.IsZero() {
		t.Errorf("%+v", is)
	}
	w.settle()
	consumer := get[corev1.PersistentVolumeClaim](w, "consumer")
	if consumer.Status.Phase != corev1.ClaimBound || consumer.Spec.VolumeName != given.Spec.VolumeName {
		t.Errorf("the consumer is %s with %s, want volume %s", consumer.Status.Phase, consumer.Spec.VolumeName, given.Spec.VolumeName)
	}
	if now := get[corev1.PersistentVolumeClaim](w, w.slot(0)); now.UID == given.UID {
		t.Error("the member is not made again")
	}
	if got := w.poolEnd(); got.Ready != 1 {
		t.Errorf("%+v", got)
	}
}

// TestPoolEnds holds that a pool that is not declared any more leaves nothing, that a
// smaller one keeps what it may, and that a suspended cache makes no volume.
func TestPoolEnds(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(2))
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool.Size = 1 })
	w.settle()
	if got := w.poolEnd(); got.Ready != 1 || got.PVCs != 1 || got.Members != 1 {
		t.Errorf("smaller: %+v", got)
	}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend, c.Spec.Pool.Size = true, 2 })
	w.settle()
	if got := w.poolEnd(); got.PVCs != 1 {
		t.Errorf("suspended: %+v", got)
	}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend, c.Spec.Pool = false, nil })
	w.settle()
	if got := w.poolEnd(); got != (poolEnd{}) {
		t.Errorf("removed: %+v", got)
	}
	w.condition(v1alpha1.PoolFilledCondition, "", "", "")
}

// TestPoolGoesWithItsCache holds that nothing is left of the pool of a cache that is
// deleted, also while no operator runs.
func TestPoolGoesWithItsCache(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(2))
	w.settle()
	w.must(server.Client.Delete(t.Context(), w.get()))
	for range 10 {
		if !w.step() {
			break
		}
	}
	if left := w.poolPVCs(); len(left) > 0 {
		t.Errorf("%d PVCs are left", len(left))
	}
}

// TestPoolIsRefused holds that a quota is reported on the GoCache, which is as usable as
// it was.
func TestPoolIsRefused(t *testing.T) {
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()
	quota := w.quota("1")
	w.newEvents()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "exceeded quota")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if all := w.newEvents(); !strings.Contains(all, v1alpha1.ReasonPoolRefused) {
		t.Errorf("events:\n%s", all)
	}
	w.must(cluster.Lift(t.Context(), server.Client, quota))
	w.wait(time.Minute)
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
}

// TestPoolMountedMeanwhile holds that a pod which passes for that of the check, by all
// that a client can write but the labels, makes a volume useless while it is read, and
// that one with all the marks does when it is ready.
func TestPoolMountedMeanwhile(t *testing.T) {
	for name, ready := range map[string]bool{"while it is read": false, "when it is ready": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if !ready {
				w.pooled = nil
			}
			w.cache(pools(1))
			w.settle()
			member := w.get().Status.Pool.Members[0]
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nosy", OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "Job", Name: member.Name, UID: types.UID(member.JobUID), Controller: ptr.To(true)}}}}
			if ready {
				pod.Labels = map[string]string{batchv1.ControllerUidLabel: member.JobUID}
			}
			pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: member.Name}}}}
			w.must(server.Client.Create(t.Context(), pod))
			w.must(w.pass())
			if all := w.newEvents(); !strings.Contains(all, "pod nosy mounts it") {
				t.Errorf("events:\n%s", all)
			}
			if is := w.get().Status.Pool; is.Ready != 0 || is.Members[0].State != v1alpha1.PoolMemberDeleting {
				t.Errorf("%+v", is)
			}
		})
	}
}

// foreignMember is a PVC of the name of a volume, made by another client.
func (w *world) foreignMember() *corev1.PersistentVolumeClaim {
	w.t.Helper()
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.slot(0), Labels: pool.Labels("ci")},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	w.must(server.Client.Create(w.t.Context(), pvc))
	return pvc
}

// TestPoolReplaced holds that a volume which is gone counts no more, whatever has taken
// its name.
func TestPoolReplaced(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(1))
	w.settle()
	w.must(server.Client.Delete(t.Context(), get[corev1.PersistentVolumeClaim](w, w.slot(0))))
	for exists[corev1.PersistentVolumeClaim](w, w.slot(0)) && w.step() {
		continue
	}
	w.foreignMember()
	w.must(w.pass())
	if is := w.get().Status.Pool; is.Ready != 0 || len(is.Members) != 0 {
		t.Errorf("%+v", is)
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "was not made for this GoCache")
}

// TestPoolObstructed holds that an object of the name of a volume which another owner
// has is neither used nor touched, and is reported.
func TestPoolObstructed(t *testing.T) {
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()
	foreign := w.foreignMember()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "PersistentVolumeClaim "+foreign.Name+" exists and was not made for this GoCache")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if is := get[corev1.PersistentVolumeClaim](w, foreign.Name); is.UID != foreign.UID || !is.DeletionTimestamp.IsZero() {
		t.Error("it was deleted")
	}
	w.must(server.Client.Delete(t.Context(), foreign))
	w.wait(time.Minute)
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
}

// TestPoolWithoutSnapshot holds that a pool waits for a verified snapshot.
func TestPoolWithoutSnapshot(t *testing.T) {
	w := newWorld(t)
	w.slow = true
	w.cache(pools(1))
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonNoVerifiedSnapshot, "There is no verified snapshot")
	if got := w.poolEnd(); got.PVCs != 0 || got.Jobs != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPoolForgedJob holds that the report of a Job that another client created makes no
// volume ready.
func TestPoolForgedJob(t *testing.T) {
	w := newWorld(t)
	w.pooled = nil
	w.cache(pools(1))
	w.settle()
	job := get[batchv1.Job](w, w.slot(0))
	w.must(server.Client.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	for range 5 {
		w.step()
	}
	forged := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: job.Name, Labels: job.Labels, OwnerReferences: job.OwnerReferences}}
	forged.Spec.Template.Labels = job.Labels
	forged.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "i"}}}
	w.must(server.Client.Create(t.Context(), forged))
	w.pooled = intactWith(contentDigest)
	for range 5 {
		w.step()
	}
	w.must(w.pass())
	if is := w.get().Status.Pool; is.Ready != 0 || is.Members[0].ReadyTime != nil {
		t.Errorf("%+v", is)
	}
	if all := w.newEvents(); !strings.Contains(all, "is not the one that the operator created") {
		t.Errorf("events:\n%s", all)
	}
}

// quota has the cluster refuse more PVCs than so many.
func (w *world) quota(pvcs string) *corev1.ResourceQuota {
	w.t.Helper()
	all := corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: resource.MustParse(pvcs)}
	quota, err := cluster.Enforce(w.t.Context(), server.Client, w.namespace, "claims", all, all)
	w.must(err)
	return quota
}

// TestPoolRefusalEnds holds that a refusal is reported only while the pool asks for what
// was refused.
func TestPoolRefusalEnds(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"a smaller pool": func(w *world) { w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool.Size = 1 }) },
		"suspended":      func(w *world) { w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true }) },
		"no snapshot": func(w *world) {
			w.slow = true // none takes its place
			for _, s := range w.snapshots() {
				w.must(server.Client.Delete(w.t.Context(), &s))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cache(pools(1))
			w.settle()
			w.quota("2")
			w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool.Size = 2 })
			w.settle()
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "exceeded quota")
			end(w)
			w.settle()
			if is := w.get().Status.Pool; is.RefusedTime != nil || is.Message != "" {
				t.Errorf("refused at %s: %q", is.RefusedTime, is.Message)
			}
			if is := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.PoolFilledCondition); is == nil || is.Reason == v1alpha1.ReasonPoolRefused {
				t.Errorf("%+v", is)
			}
		})
	}
}

// TestPoolSuspended holds that a suspended cache makes no volume, while those that are
// ready are given, and what held them goes and is not counted.
func TestPoolSuspended(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(1))
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Suspend = true })
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
	w.consume(w.slot(0))
	w.settle()
	if got := w.poolEnd(); got != (poolEnd{Declared: true, Capacity: "0", Consumer: "Bound"}) {
		t.Errorf("%+v", got)
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "spec.suspend is set")
	wrote := len(w.mortal.Writes)
	w.must(w.pass())
	if due := w.last.RequeueAfter; len(w.mortal.Writes) > wrote || due != 0 {
		t.Errorf("a suspended cache writes %q and looks again after %s", w.mortal.Writes[wrote:], due)
	}
}

// TestPoolTampered holds that a volume is given to no build once another client has
// changed the owner of its PVC: with that, a pod can mount the PVC as a volume of its own.
func TestPoolTampered(t *testing.T) {
	for name, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"owner": func(c *corev1.PersistentVolumeClaim) {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "pool", UID: "another", Controller: ptr.To(true)}}
		},
		"label": func(c *corev1.PersistentVolumeClaim) { delete(c.Labels, v1alpha1.PoolLabel) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cache(pools(1))
			w.settle()
			pvc := get[corev1.PersistentVolumeClaim](w, w.slot(0))
			change(pvc)
			w.must(server.Client.Update(t.Context(), pvc))
			w.must(w.pass())
			if all := w.newEvents(); !strings.Contains(all, "another client changed the label or the owner") {
				t.Errorf("events:\n%s", all)
			}
			if is := w.get().Status.Pool; is.Ready != 0 || is.Failures != 1 {
				t.Errorf("%+v", is)
			}
			w.settle()
			w.wait(time.Minute)
			if now := get[corev1.PersistentVolumeClaim](w, w.slot(0)); now.UID == pvc.UID {
				t.Error("it is still there")
			}
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
		})
	}
}

// TestPoolOfOtherSizes holds that volumes which the cluster makes in another size than
// was asked for are not made again and again without a pause.
func TestPoolOfOtherSizes(t *testing.T) {
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()
	made := 0
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if u, ok := o.(*unstructured.Unstructured); ok && u.GetKind() == "PersistentVolumeClaim" {
				made++
				w.must(unstructured.SetNestedField(u.Object, "3Gi", "spec", "resources", "requests", "storage"))
			}
			return c.Create(ctx, o, opts...)
		},
	})
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	for range 20 {
		w.must(w.pass())
		w.step()
		w.now = w.now.Add(time.Second)
	}
	if made != 1 {
		t.Errorf("%d PVCs were made", made)
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFailing, "it asks for 3Gi")
}

// TestPoolOfRetainedVolumes holds that no volume is made of a class that keeps what is
// deleted: what the pool discards would cost without end.
func TestPoolOfRetainedVolumes(t *testing.T) {
	w := newWorld(t)
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-kept"}, Provisioner: env.Driver, ReclaimPolicy: ptr.To(corev1.PersistentVolumeReclaimRetain)}
	w.must(server.Client.Create(t.Context(), class))
	w.cache(pools(1), func(s *v1alpha1.GoCacheSpec) { s.Pool.Storage.StorageClassName = &class.Name })
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "reclaimPolicy Retain")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if got := w.poolEnd(); got.PVCs != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPoolWithoutRecord holds that a volume whose record was lost goes with the pool,
// also if the client's cache does not have it yet when the pool is given up.
func TestPoolWithoutRecord(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(1))
	w.settle()
	lost := w.get()
	lost.Status.Pool.Members = nil
	w.must(server.Client.Status().Update(t.Context(), lost))
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = nil })
	c := w.reconciler.Client
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*corev1.PersistentVolumeClaimList); ok {
				return nil // it is behind
			}
			return c.List(ctx, list, opts...)
		},
	})
	w.must(w.pass())
	w.must(w.pass())
	w.reconciler.Client = c
	w.settle()
	if got := w.poolEnd(); got != (poolEnd{}) {
		t.Errorf("%+v", got)
	}
}

// TestPoolLingers holds that it is reported when a volume cannot be deleted.
func TestPoolLingers(t *testing.T) {
	w := newWorld(t)
	w.cache(pools(1))
	w.settle()
	pvc := get[corev1.PersistentVolumeClaim](w, w.slot(0))
	pvc.Finalizers = append(pvc.Finalizers, "test.gocache.dev/hold")
	w.must(server.Client.Update(t.Context(), pvc))
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool.Storage.Size = ptr.To(resource.MustParse("2Gi")) })
	w.must(w.pass())
	w.must(w.pass())
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "0 of 1")
	w.now = time.Now().Add(2 * time.Minute) // the deletion has the clock of the API server
	w.must(w.pass())
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "it is being deleted and is still there")
	pvc = get[corev1.PersistentVolumeClaim](w, pvc.Name)
	pvc.Finalizers = nil
	w.must(server.Client.Update(t.Context(), pvc))
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
}

// TestPoolWithoutOffer holds that ready volumes stay while no snapshot is offered, that it
// is not reported that PVCs can get them, and that a volume which was not read yet is not
// compared with nothing.
func TestPoolWithoutOffer(t *testing.T) {
	for name, reading := range map[string]bool{"ready": false, "not read yet": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if reading {
				w.pooled = nil
			}
			w.cache(pools(1))
			w.settle()
			if reading {
				job := get[batchv1.Job](w, w.slot(0))
				w.must(server.Client.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
				for exists[batchv1.Job](w, w.slot(0)) && w.step() {
					continue
				}
			}
			member := get[corev1.PersistentVolumeClaim](w, w.slot(0))
			w.slow = true // no other snapshot takes its place
			readiness := func(ready bool) {
				for _, s := range w.snapshots() {
					status := metav1.ConditionFalse
					if ready {
						status = metav1.ConditionTrue
					}
					meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: v1alpha1.SnapshotReadyCondition, Status: status, Reason: v1alpha1.ReasonSnapshotFailed})
					w.must(server.Client.Status().Update(t.Context(), &s))
				}
			}
			readiness(false)
			w.must(w.pass())
			if offered := w.get().Status.LatestVerifiedSnapshot; offered != "" {
				t.Fatalf("%s is offered", offered)
			}
			w.must(w.pass())
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonNoVerifiedSnapshot, "")
			if is := get[corev1.PersistentVolumeClaim](w, w.slot(0)); is.UID != member.UID || !is.DeletionTimestamp.IsZero() {
				t.Error("the volume was discarded")
			}
			readiness(true)
			w.pooled = intactWith(contentDigest)
			w.settle()
			w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
		})
	}
}

// heldVolume is the volume of the first member of a pool of one, which stays for a while
// when it is deleted, as one does that is bound.
func (w *world) heldVolume() *corev1.PersistentVolume {
	w.t.Helper()
	w.cache(pools(1))
	w.settle()
	pv := &corev1.PersistentVolume{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: get[corev1.PersistentVolumeClaim](w, w.slot(0)).Spec.VolumeName}, pv))
	pv.Finalizers = append(pv.Finalizers, v1alpha1.GroupName+"/hold")
	w.must(server.Client.Update(w.t.Context(), pv))
	return pv
}

// letGo ends that.
func (w *world) letGo(pv *corev1.PersistentVolume) {
	w.t.Helper()
	w.must(server.Client.Get(w.t.Context(), client.ObjectKeyFromObject(pv), pv))
	pv.Finalizers = nil
	w.must(server.Client.Update(w.t.Context(), pv))
	w.settle()
}

// TestPoolVolumeDeleted holds that a volume which is being deleted is replaced: the cluster
// would bind no PVC to it. It is no failure: a consumer may have had it.
func TestPoolVolumeDeleted(t *testing.T) {
	w := newWorld(t)
	pv := w.heldVolume()
	was := get[corev1.PersistentVolumeClaim](w, w.slot(0))
	w.must(server.Client.Delete(t.Context(), pv))
	w.newEvents()
	w.must(w.pass())
	if all := w.newEvents(); !strings.Contains(all, "its volume was deleted") {
		t.Errorf("events:\n%s", all)
	}
	if is := w.get().Status.Pool; is.Ready != 0 || is.Failures != 0 {
		t.Errorf("%+v", is)
	}
	w.letGo(pv)
	if got := w.poolEnd(); got.Ready != 1 || get[corev1.PersistentVolumeClaim](w, w.slot(0)).UID == was.UID {
		t.Errorf("%+v", got)
	}
}

// TestPoolCorrected holds that a Job which has not run is replaced when the cache is
// corrected.
func TestPoolCorrected(t *testing.T) {
	w := newWorld(t)
	w.cache(afterWarmUp)
	w.settle()
	w.pooled, w.cluster.Stuck = nil, &corev1.PodStatus{Phase: corev1.PodPending}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	w.settle()
	was := get[batchv1.Job](w, w.slot(0))
	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"disk": "fast"}}
	})
	w.settle()
	if all := w.newEvents(); !strings.Contains(all, "JobReplaced") {
		t.Errorf("events:\n%s", all)
	}
	is := get[batchv1.Job](w, w.slot(0))
	if is.UID == was.UID || is.Spec.Template.Spec.NodeSelector["disk"] != "fast" {
		t.Errorf("Job %s with %v", is.UID, is.Spec.Template.Spec.NodeSelector)
	}
	w.pooled, w.cluster.Stuck = intactWith(contentDigest), nil
	w.settle()
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
}

// TestPoolOfLostNode holds that a pod on a lost node keeps the pool from no other volume,
// and that it is reported what to do about it, also once its volume is being deleted.
func TestPoolOfLostNode(t *testing.T) {
	w := newWorld(t)
	w.pooled = nil
	w.cache(pools(2))
	w.settle()
	member := w.get().Status.Pool.Members[0]
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "reads", Finalizers: []string{"test.gocache.dev/hold"},
		Labels:          map[string]string{batchv1.ControllerUidLabel: member.JobUID},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: member.Name, UID: types.UID(member.JobUID), Controller: ptr.To(true)}}}}
	pod.Spec.NodeName = "gone"
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: member.Name}}}}
	w.must(server.Client.Create(t.Context(), pod))
	w.must(server.Client.Delete(t.Context(), pod))
	w.must(w.pass())
	if n := len(w.poolPVCs()); n != 1 {
		t.Fatalf("%d volumes while the node may answer yet, want 1", n)
	}
	w.now = time.Now().Add(30 * time.Minute) // the deletion has the clock of the API server
	w.pooled = intactWith(contentDigest)
	w.must(w.pass())
	if n := len(w.poolPVCs()); n != 2 {
		t.Errorf("%d volumes beside one whose node is lost, want 2", n)
	}
	pvc := get[corev1.PersistentVolumeClaim](w, member.Name)
	pvc.Finalizers = append(pvc.Finalizers, "test.gocache.dev/hold")
	w.must(server.Client.Update(t.Context(), pvc))
	w.must(server.Client.Delete(t.Context(), pvc))
	w.must(w.pass())
	w.now = w.now.Add(5 * time.Minute)
	w.must(w.pass())
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "kubectl taint nodes gone")
}

// TestPoolVolumeLeft holds that no volume takes the place of one that the driver has not
// deleted yet: it costs as much, and a driver may never delete it.
func TestPoolVolumeLeft(t *testing.T) {
	w := newWorld(t)
	pv := w.heldVolume()
	w.now = w.now.Add(168 * time.Hour)
	w.settle()
	if exists[corev1.PersistentVolumeClaim](w, w.slot(0)) {
		t.Error("another volume is made")
	}
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolFilling, "its volume "+pv.Name+" is not deleted yet")
	if due := w.last.RequeueAfter; due <= 0 || due > time.Minute {
		t.Errorf("looks again after %s", due)
	}
	if got := w.poolEnd(); got.Capacity != "1Gi" {
		t.Errorf("it costs %s, want 1Gi", got.Capacity)
	}
	w.letGo(pv)
	w.condition(v1alpha1.PoolFilledCondition, metav1.ConditionTrue, v1alpha1.ReasonPoolFilled, "")
}
