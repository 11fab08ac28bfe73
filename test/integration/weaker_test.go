package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestWeakerVerificationIsNoSource plays a user who may edit CacheSnapshots and
// makes one that is verified less strictly than the cache's policy asks. It must
// not become the source of consumers that name the cache: they get the newest one that
// was verified as strictly as the policy asks. By its own name it is a source.
func TestWeakerVerificationIsNoSource(t *testing.T) {
	ns := server.Namespace(t)
	startManager(t, ns)
	w := &cluster.Cluster{
		Client: server.Client, JobController: jobController(t), Namespace: ns, Now: time.Now,
		Job: func(*batchv1.Job) *cluster.Ending {
			return &cluster.Ending{Message: `{"verdict":"Intact","digest":"sha256:aa","counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{},"examples":[]}`}
		},
		// The CSI driver leaves what names a kind of ours to the populator.
		Unbound: func(c *corev1.PersistentVolumeClaim) bool {
			return c.Spec.DataSourceRef != nil && ptr.Deref(c.Spec.DataSourceRef.APIGroup, "") == v1alpha1.GroupName
		},
	}
	waitFor := func(what string, holds func() error) {
		t.Helper()
		eventually(t, what, func() error {
			if _, err := w.Step(t.Context()); err != nil {
				return err
			}
			return holds()
		})
	}
	create := func(o client.Object) {
		t.Helper()
		if err := server.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	get := func(o client.Object) error { return server.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o) }
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

	create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: ns}, Provisioner: env.Driver, VolumeBindingMode: ptr.To(storagev1.VolumeBindingImmediate)})
	create(&corev1.ConfigMap{ObjectMeta: meta("sums"), Data: map[string]string{"go.sum": "example.com/a v1.0.0 h1:AAAA\n"}})
	strict := &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci"), Spec: v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}}}
	cache.Spec.Storage.Size, cache.Spec.Storage.StorageClassName = resource.MustParse("1Gi"), &ns
	cache.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false), Verification: v1alpha1.Verification{Trust: strict}}
	create(cache)

	snapshot := func(name string, trust *v1alpha1.Trust) *v1alpha1.CacheSnapshot {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: meta(name), Spec: v1alpha1.CacheSnapshotSpec{
			SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Verification: v1alpha1.Verification{Trust: trust},
		}}
		// The label that the policy's own snapshots bear can be written by any user.
		s.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
		create(s)
		waitFor(name+" is verified", func() error {
			if err := get(s); err != nil {
				return err
			}
			if !apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.VerifiedCondition) {
				return fmt.Errorf("its status is %+v", s.Status)
			}
			return nil
		})
		return s
	}
	offered := func(want string) func() error {
		return func() error {
			if err := get(cache); err != nil {
				return err
			}
			if got := cache.Status.LatestVerifiedSnapshot; got != want || cache.Status.ObservedGeneration != cache.Generation {
				return fmt.Errorf("latestVerifiedSnapshot is %q, want %q", got, want)
			}
			return nil
		}
	}
	snapshot("strict", strict)
	waitFor("the snapshot that was verified as the policy asks is offered", offered("strict"))

	weak := snapshot("weak", nil)
	if err := get(cache); err != nil {
		t.Fatal(err)
	}
	cache.Spec.Toolchain.Image = "go:another" // the next status is of what came after
	if err := server.Client.Update(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	waitFor("the weaker one is not offered", offered("strict"))
	if ready := apimeta.FindStatusCondition(weak.Status.Conditions, v1alpha1.ReadyCondition); ready == nil || !strings.Contains(ready.Message, "trust.goSumRefs: sums") {
		t.Errorf("the snapshot does not say why it is not offered: %+v", ready)
	}

	for kind, tt := range map[string]struct{ source, want string }{
		v1alpha1.GoCacheKind: {"ci", "strict"}, v1alpha1.CacheSnapshotKind: {"weak", "weak"},
	} {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: meta("by-" + tt.source), Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &ns,
			Resources:     corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			DataSourceRef: &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: kind, Name: tt.source},
		}}
		create(pvc)
		waitFor("a PersistentVolumeClaim that names "+kind+" "+tt.source+" gets a clone of "+tt.want, func() error {
			if err := get(pvc); err != nil {
				return err
			}
			pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName}}
			if pvc.Status.Phase != corev1.ClaimBound {
				return fmt.Errorf("it is %s; %v", pvc.Status.Phase, server.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: volume.IntermediateName(pvc.UID)}, &corev1.PersistentVolumeClaim{}))
			}
			if err := get(pv); err != nil {
				return err
			}
			if from := pv.Annotations[v1alpha1.PopulatedFromAnnotation]; from != tt.want {
				return fmt.Errorf("it is a clone of %q", from)
			}
			return nil
		})
	}
}

// startManager starts the operator as its Deployment does, in a process of its
// own, until the test ends.
func startManager(t *testing.T, ns string) {
	t.Helper()
	probes := loopback.Address(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program,
		"--kubeconfig", kubeconfigOfManager(t), "--leader-elect", "--leader-election-namespace", ns,
		"--metrics-bind-address", "0", "--health-probe-bind-address", probes, "--operator-image", "gocache.dev/operator:dev")
	cmd.Env = append(os.Environ(), asManager+"=yes")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			defer func() { t.Logf("the log of the manager: %s", log.String()) }()
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the manager ended with %v: %s", err, log.String())
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Error("the manager does not end")
		}
	})
	eventually(t, "the manager is ready", func() error { return answers("http://"+probes+"/readyz", 200) })
}
