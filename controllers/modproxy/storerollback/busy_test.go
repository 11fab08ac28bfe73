package storerollback

import (
	"context"
	"errors"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
)

func clientOf(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

// replacing is a proxy whose store of blue is replaced.
func replacing() *v1alpha1.ModProxy {
	p := proxy()
	p.Namespace, p.Name, p.UID = "n", "p", "p"
	p.Spec.Instances[0].Storage.Size = resource.MustParse("1Gi")
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", VolumeReplacement: &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}}}
	return p
}

func ownedByProxy() []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ModProxyKind, Name: "p", UID: "p", Controller: ptr.To(true)}}
}

// stopped is the StatefulSet of blue, which is down.
func stopped() *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-blue", Generation: 2, OwnerReferences: ownedByProxy()},
		Spec:       appsv1.StatefulSetSpec{Replicas: ptr.To[int32](0)},
		Status:     appsv1.StatefulSetStatus{ObservedGeneration: 2},
	}
}

// TestBusy holds that the volume of a store is replaced only while its instance is
// down, in what was observed and in what is desired, and no snapshot is created of it.
func TestBusy(t *testing.T) {
	pending := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "vs"}}
	pending.Spec.Source.PersistentVolumeClaimName = ptr.To("p-blue")
	for name, tt := range map[string]struct {
		change func(*appsv1.StatefulSet)
		pods   int
		also   client.Object
		want   string
	}{
		"down":               {func(*appsv1.StatefulSet) {}, 0, nil, ""},
		"no replicas named":  {func(s *appsv1.StatefulSet) { s.Spec.Replicas = nil }, 0, nil, "to be down"},
		"to be up":           {func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To[int32](1) }, 0, nil, "to be down"},
		"not observed yet":   {func(s *appsv1.StatefulSet) { s.Status.ObservedGeneration = 1 }, 0, nil, "to be down"},
		"still up":           {func(s *appsv1.StatefulSet) { s.Status.Replicas = 1 }, 0, nil, "to be down"},
		"a pod is left":      {func(*appsv1.StatefulSet) {}, 1, nil, "to be down"},
		"another's":          {func(s *appsv1.StatefulSet) { s.OwnerReferences, s.Status.Replicas = nil, 1 }, 0, nil, ""},
		"a snapshot pending": {func(*appsv1.StatefulSet) {}, 0, pending, "CSI snapshot vs to be created"},
	} {
		set := stopped()
		tt.change(set)
		objects := []client.Object{set}
		if tt.also != nil {
			objects = append(objects, tt.also)
		}
		p := replacing()
		got, err := Reconciler{Live: clientOf(t, objects...)}.busy(t.Context(), p, &p.Status.Instances[0], replacementrun.Observed{OwnPods: make([]corev1.Pod, tt.pods)})
		if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	fails := interceptor.NewClient(clientOf(t), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("for a moment")
	}})
	p := replacing()
	if _, err := (Reconciler{Live: fails}).busy(t.Context(), p, &p.Status.Instances[0], replacementrun.Observed{}); err == nil {
		t.Error("a StatefulSet that cannot be read is source for none")
	}
}

// TestIntent holds that a store keeps its class, and gets a volume that is not smaller
// than it has, nor than its snapshot needs.
func TestIntent(t *testing.T) {
	live := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-blue"}}
	live.Spec.StorageClassName, live.Spec.VolumeName, live.Status.Phase = ptr.To("fast"), "v1", corev1.ClaimBound
	live.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	source := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}}
	source.Status.RestoreSize = ptr.To(resource.MustParse("3Gi"))
	for name, tt := range map[string]struct {
		objects               []client.Object
		size, class, previous string
	}{
		"nothing is left":      {nil, "1Gi", "slow", ""},
		"a larger PVC":         {[]client.Object{live}, "2Gi", "fast", "v1"},
		"a larger snapshot":    {[]client.Object{live, source}, "3Gi", "fast", "v1"},
		"only a snapshot left": {[]client.Object{source}, "3Gi", "slow", ""},
	} {
		p := replacing()
		p.Spec.Instances[0].Storage.StorageClassName = ptr.To("slow")
		in, err := Reconciler{Live: clientOf(t, tt.objects...)}.intent(t.Context(), p, pass.Observed{Now: noon}, "blue", "s")
		if err != nil || in.Size.String() != tt.size || in.StorageClassName != tt.class || in.PreviousVolume != tt.previous || in.Snapshot != "s" || !in.StartTime.Time.Equal(noon) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
	}
}

// TestRecord holds what is recorded of the steps of a replacement.
func TestRecord(t *testing.T) {
	one := func(d replacement.Decision) (v1alpha1.InstanceStatus, replacementrun.Outcome) {
		status := v1alpha1.InstanceStatus{Name: "blue", Rollback: &v1alpha1.StoreRollbackStatus{}}
		status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "s", NextVolume: "v2", Failure: "on the way"}
		return status, replacementrun.Outcome{Decision: d}
	}
	status, out := one(replacement.Decision{Step: replacement.Finish})
	record(&status, out, nil, noon)
	if status.VolumeReplacement != nil || status.LastVolumeReplacement.Failure != "" || status.Content.VolumeName != "v2" || status.Rollback.ReplacedTime == nil {
		t.Errorf("finished: %+v", status)
	}
	status, out = one(replacement.Decision{Step: replacement.Abandon})
	record(&status, out, nil, noon)
	if status.VolumeReplacement != nil || status.LastVolumeReplacement.Failure != "on the way" || status.Content != nil || status.Rollback.ReplacedTime != nil {
		t.Errorf("abandoned: %+v", status)
	}
	status, out = one(replacement.Decision{Step: replacement.Abandon})
	status.VolumeReplacement.Failure = ""
	record(&status, out, nil, noon)
	if status.LastVolumeReplacement.Failure != "the instance was removed" {
		t.Errorf("removed: %+v", status.LastVolumeReplacement)
	}
	status, out = one(replacement.Decision{Step: replacement.RecordOld, Volume: "v1"})
	record(&status, out, nil, noon)
	if status.VolumeReplacement.PreviousVolume != "v1" {
		t.Errorf("the volume that is replaced: %+v", status.VolumeReplacement)
	}
	status, out = one(replacement.Decision{Step: replacement.GiveUp, Detail: "no"})
	record(&status, out, nil, noon)
	if status.VolumeReplacement.Failure != "no" {
		t.Errorf("given up: %+v", status.VolumeReplacement)
	}
	status, out = one(replacement.Decision{Step: replacement.WaitForSource, Detail: "it"})
	record(&status, out, nil, noon)
	if status.VolumeReplacement.Message != "waits for it" || status.VolumeReplacement.Step != string(replacement.WaitForSource) {
		t.Errorf("waits: %+v", status.VolumeReplacement)
	}
}
