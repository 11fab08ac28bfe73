package cachesnapshot

import (
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// proxy creates the ModProxy p with one instance, and its PVC if it has storage.
func (w *world) proxy(instance v1alpha1.ProxyInstance) *v1alpha1.ModProxy {
	w.t.Helper()
	instance.Name = "blue"
	p := &v1alpha1.ModProxy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "p"},
		Spec:       v1alpha1.ModProxySpec{Instances: []v1alpha1.ProxyInstance{instance}},
	}
	w.must(server.Client.Create(w.t.Context(), p))
	if instance.Storage == nil {
		return p
	}
	w.must(server.Client.Create(w.t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "p-blue"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: instance.Storage.Size}},
		},
	}))
	_, err := w.cluster.Step(w.t.Context())
	w.must(err)
	return p
}

func storage() *v1alpha1.InstanceStorage {
	return &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}
}

func ofStore(s *v1alpha1.CacheSnapshotSpec) {
	s.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: "p", Instance: "blue"}
}

// TestSnapshotOfStore checks that a snapshot of the store of an instance is created
// and verified in the layout of that store, and that the pod of the integrity Job is
// no backend of the instance's Service.
func TestSnapshotOfStore(t *testing.T) {
	t.Parallel()
	for layout, instance := range map[string]v1alpha1.ProxyInstance{
		"goproxy": {Storage: storage()},
		"athens":  {Storage: storage(), Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}},
	} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var job *batchv1.Job
			w.cluster.Job = func(j *batchv1.Job) *cluster.Ending {
				job = j.DeepCopy()
				return w.ending
			}
			w.snapshot(ofStore)
			w.passes(3)
			w.ready(v1alpha1.ReasonSourceNotReady, "There is no instance blue of ModProxy p")
			w.proxy(instance)
			w.settle()
			s := w.get()
			if s.Status.Verification.Verdict != v1alpha1.VerdictIntact || s.Status.Source.Layout != layout || s.Status.Source.PersistentVolumeClaimName != "p-blue" {
				t.Fatalf("status %+v", s.Status)
			}
			if left := w.left("p-blue"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			command := strings.Join(job.Spec.Template.Spec.Containers[0].Command, " ")
			if !strings.Contains(command, "--store /cache/modules --layout "+layout) || strings.Contains(command, "--modcache") {
				t.Errorf("command %s", command)
			}
			if labels := job.Spec.Template.Labels; labels[v1alpha1.InstanceLabel] != "" || labels[v1alpha1.ProxyLabel] != "" {
				t.Errorf("the pod bears %v, which its instance's Service selects", labels)
			}
			var csi snapshotv1.VolumeSnapshot
			w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &csi))
			if csi.Labels[v1alpha1.ProxyLabel] != "p" || csi.Labels[v1alpha1.InstanceLabel] != "blue" {
				t.Errorf("the VolumeSnapshot does not say whose it is: %v", csi.Labels)
			}
		})
	}
}

// TestUnsupportedStore checks that an instance without a store that can be verified
// stalls the snapshot, and that a later change to such an instance does not affect a
// snapshot that exists.
func TestUnsupportedStore(t *testing.T) {
	t.Parallel()
	port := int32(3000)
	for message, instance := range map[string]v1alpha1.ProxyInstance{
		"is external":                 {External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}},
		"has a server of type Custom": {Storage: storage(), Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "example.com/x", Port: &port}},
	} {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if instance.Storage != nil {
				instance.Storage = storage()
			}
			w.proxy(instance)
			w.snapshot(ofStore)
			w.settle()
			w.stalled(v1alpha1.ReasonInvalidSpec, "instance blue of ModProxy p "+message)
			if w.asked() {
				t.Error("the snapshot was created all the same")
			}
		})
	}
	t.Run("removed after the snapshot was created", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		p := w.proxy(v1alpha1.ProxyInstance{Storage: storage()})
		w.snapshot(ofStore)
		for range 20 {
			w.passes(1)
			if w.get().Status.CreationTime != nil {
				break
			}
			_, err := w.cluster.Step(t.Context())
			w.must(err)
		}
		p.Spec.Instances[0] = v1alpha1.ProxyInstance{Name: "blue", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}}
		w.must(server.Client.Update(t.Context(), p))
		w.settle()
		if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
			t.Errorf("verdict %q", v)
		}
	})
}

// TestMountingPodsAreReported checks that the condition names the pods that had the
// PVC mounted when the snapshot was created.
func TestMountingPodsAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(v1alpha1.ProxyInstance{Storage: storage()})
	for name, pvc := range map[string]string{"p-blue-0": "p-blue", "other": "ci"} {
		w.must(server.Client.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
			Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "c", Image: "i"}},
				Volumes:    []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pvc}}}},
			},
		}))
	}
	w.snapshot(ofStore)
	w.settle()
	w.condition(v1alpha1.SnapshotReadyCondition, v1alpha1.ReasonSnapshotCreated, "had the PVC mounted: p-blue-0")
}
