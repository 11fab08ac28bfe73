package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
)

// The reports of integrity checks that the scenarios play.
const (
	reportIntact  = `{"verdict":"Intact","digest":"sha256:aa","counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{},"examples":[]}`
	reportCorrupt = `{"verdict":"Corrupt","message":"1 corrupt: Corrupt 1","digest":"sha256:bb","bytes":1048576,"durationSeconds":1.5,` +
		`"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"corrupt":1,"findings":{"Corrupt":1},` +
		`"examples":[{"class":"Corrupt","severity":"corrupt","cache":"build","path":"ab/abcd-d","detail":"content has another hash"}]}`
)

// runner are the rights of a CI runner's service account besides edit: it may
// create pods and Jobs, and snapshots of volumes.
var runner = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}},
	{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"*"}},
	{APIGroups: []string{"snapshot.storage.k8s.io"}, Resources: []string{"volumesnapshots"}, Verbs: []string{"*"}},
}

// stage is a namespace in which an attack is played: the attacker has rights in
// it alone, everything that a cluster has besides the operator is played by the
// test, and the operator is a process of its own.
type stage struct {
	*testing.T
	ns       string
	attacker client.WithWatch
	cluster  *cluster.Cluster

	mu sync.Mutex
	// how a Job ends that runs now; nil: it keeps running.
	job func(*batchv1.Job) *cluster.Ending
}

func newStage(t *testing.T, rights ...rbacv1.PolicyRule) *stage {
	t.Helper()
	ns := server.Namespace(t)
	s := &stage{T: t, ns: ns, attacker: server.Tenant(t, ns, rights...), job: ends(reportIntact)}
	s.cluster = &cluster.Cluster{
		Client: server.Client, JobController: jobController(t), Namespace: ns, Now: time.Now,
		Job: func(j *batchv1.Job) *cluster.Ending {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.job(j)
		},
		// The CSI driver leaves what names a kind of ours to the populator.
		Unbound: func(c *corev1.PersistentVolumeClaim) bool {
			return c.Spec.DataSourceRef != nil && ptr.Deref(c.Spec.DataSourceRef.APIGroup, "") == v1alpha1.GroupName
		},
	}
	s.create(server.Client, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: ns}, Provisioner: env.Driver, VolumeBindingMode: ptr.To(storagev1.VolumeBindingImmediate)})
	return s
}

// ends lets every Job end with one report.
func ends(report string) func(*batchv1.Job) *cluster.Ending {
	return func(*batchv1.Job) *cluster.Ending {
		e := &cluster.Ending{Message: report}
		if report != reportIntact {
			e.Exit = 3
		}
		return e
	}
}

// verificationsRun lets the Jobs of CacheSnapshots run on, and others end.
func verificationsRun(j *batchv1.Job) *cluster.Ending {
	if j.Labels[v1alpha1.SnapshotLabel] != "" {
		return nil
	}
	return ends(reportIntact)(j)
}

// jobs sets how Jobs end from now on.
func (s *stage) jobs(how func(*batchv1.Job) *cluster.Ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.job = how
}

func (s *stage) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.ns, Name: name}
}

func (s *stage) create(as client.Client, o client.Object) {
	s.Helper()
	if err := as.Create(s.Context(), o); err != nil {
		s.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

// edit changes an object with the rights of the attacker.
func edit[T client.Object](s *stage, o T, change func(T)) {
	s.Helper()
	eventually(s.T, "the attacker has changed "+o.GetName(), func() error {
		if err := s.attacker.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change(o)
		return s.attacker.Update(s.Context(), o)
	})
}

func (s *stage) read(o client.Object) error {
	return server.Client.Get(s.Context(), client.ObjectKeyFromObject(o), o)
}

// waitFor plays the rest of the cluster until something holds.
func (s *stage) waitFor(what string, holds func() error) {
	s.Helper()
	eventually(s.T, what, func() error {
		if _, err := s.cluster.Step(s.Context()); err != nil {
			return err
		}
		return holds()
	})
}

// cache is a GoCache of the attacker's namespace that creates a snapshot on request.
func (s *stage) cache(change ...func(*v1alpha1.GoCache)) *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{ObjectMeta: s.meta("ci"), Spec: v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}}}
	c.Spec.Storage.Size, c.Spec.Storage.StorageClassName = resource.MustParse("1Gi"), &s.ns
	c.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false)}
	for _, f := range change {
		f(c)
	}
	s.create(s.attacker, c)
	return c
}

// snapshot creates a snapshot of the cache with the attacker's rights.
func (s *stage) snapshot(name string) *v1alpha1.CacheSnapshot {
	o := &v1alpha1.CacheSnapshot{ObjectMeta: s.meta(name), Spec: v1alpha1.CacheSnapshotSpec{
		SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}}}
	s.create(s.attacker, o)
	return o
}

// verified waits until a snapshot is verified.
func (s *stage) verified(o *v1alpha1.CacheSnapshot) *v1alpha1.CacheSnapshot {
	s.Helper()
	s.waitFor(o.Name+" is verified", func() error { return s.is(o, v1alpha1.VerifiedCondition, metav1.ConditionTrue) })
	return o
}

// is reports whether a condition of a snapshot has a status.
func (s *stage) is(o *v1alpha1.CacheSnapshot, condition string, status metav1.ConditionStatus) error {
	if err := s.read(o); err != nil {
		return err
	}
	c := apimeta.FindStatusCondition(o.Status.Conditions, condition)
	if c == nil || c.Status != status {
		return fmt.Errorf("condition %s of %s is not %s: %+v", condition, o.Name, status, o.Status.Conditions)
	}
	return nil
}

// consumer asks for a clone, as a pod that builds does.
func (s *stage) consumer(name, kind, source string, change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: s.meta(name), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &s.ns,
		Resources:     corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		DataSourceRef: &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: kind, Name: source},
	}}
	for _, f := range change {
		f(pvc)
	}
	s.create(s.attacker, pvc)
	return pvc
}

// unbound holds for a while that a PersistentVolumeClaim gets no volume: as long
// as another one, made after it, needs to be filled twice over.
func (s *stage) unbound(pvc *corev1.PersistentVolumeClaim) {
	s.Helper()
	if err := s.read(pvc); err != nil {
		s.Fatal(err)
	}
	if pvc.Status.Phase == corev1.ClaimBound {
		s.Errorf("PersistentVolumeClaim %s was filled with %s", pvc.Name, pvc.Spec.VolumeName)
	}
}

// victim is another tenant's PersistentVolumeClaim and its volume.
type otherTenant struct {
	pvc *corev1.PersistentVolumeClaim
	pv  *corev1.PersistentVolume
}

func (s *stage) victim() otherTenant {
	s.Helper()
	pvc, pv, err := cluster.BoundVolume(s.Context(), server.Client, server.Namespace(s.T), "data")
	if err != nil {
		s.Fatal(err)
	}
	return otherTenant{pvc, pv}
}

// lostNothing holds that neither object was written to.
func (v otherTenant) lostNothing(s *stage) {
	s.Helper()
	for _, before := range []client.Object{v.pvc, v.pv} {
		after := before.DeepCopyObject().(client.Object)
		if err := s.read(after); err != nil {
			s.Errorf("another tenant's %T: %v", before, err)
		} else if after.GetResourceVersion() != before.GetResourceVersion() {
			s.Errorf("another tenant's %T was written to: %+v", before, after)
		}
	}
}

// reports waits until an object's Ready or Verified condition names a text.
func (s *stage) reports(o client.Object, conditions func() []metav1.Condition, text string) {
	s.Helper()
	s.waitFor(o.GetName()+" reports "+text, func() error {
		if err := s.read(o); err != nil {
			return err
		}
		var all []string
		for _, c := range conditions() {
			all = append(all, c.Message)
		}
		if all := strings.Join(all, "\n"); !strings.Contains(all, text) {
			return fmt.Errorf("it reports %s", all)
		}
		return nil
	})
}
