package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/diff"
	"gocache.dev/operator/internal/cli/temporary"
	"gocache.dev/operator/internal/domain/manifest"
)

// begun is a set with its Job, and what its client fails with: each function is
// called before the call of its name reaches the cluster.
func begun(t *testing.T, fail interceptor.Funcs) *temporary.Set {
	t.Helper()
	c := clientOf()
	set := &temporary.Set{Client: c, Namespace: "ci", Name: "gocache-x", Interval: time.Millisecond}
	if err := set.Begin(t.Context(), corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	set.Client = interceptor.NewClient(c, fail)
	return set
}

// TestRemoveReportsWhatStays holds that a user who may not delete what a command
// has created reads what is left, and the command that removes it.
func TestRemoveReportsWhatStays(t *testing.T) {
	set := begun(t, interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, "gocache-x", errors.New("no right"))
	}})
	err := set.Remove(t.Context())
	for _, want := range []string{"job/gocache-x", "no right", "kubectl delete jobs,pods,pvc,volumesnapshots -n ci -l app.kubernetes.io/instance=gocache-x"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q: %v", want, err)
		}
	}
}

// TestRemoveRepeats holds that a list that fails for a moment is not taken for one
// that is empty.
func TestRemoveRepeats(t *testing.T) {
	failures := 3
	set := begun(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*batchv1.JobList); ok && failures > 0 {
			failures--
			return apierrors.NewInternalError(errors.New("for a moment"))
		}
		return c.List(ctx, list, opts...)
	}})
	if err := set.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	var jobs batchv1.JobList
	if err := set.Client.List(t.Context(), &jobs); err != nil || len(jobs.Items) > 0 {
		t.Errorf("%d Jobs are left, %v", len(jobs.Items), err)
	}
}

// TestRemoveReportsRetained holds that it is reported if it is unknown whether
// volumes or snapshots stay on the storage, although the objects are gone.
func TestRemoveReportsRetained(t *testing.T) {
	for name, of := range map[string]client.ObjectList{"volumes": &corev1.PersistentVolumeClaimList{}, "snapshots": &snapshotv1.VolumeSnapshotList{}} {
		first := true
		set := begun(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if fmt.Sprintf("%T", list) == fmt.Sprintf("%T", of) && first {
				first = false
				return apierrors.NewInternalError(errors.New("for a moment"))
			}
			return c.List(ctx, list, opts...)
		}})
		if err := set.Remove(t.Context()); err == nil || !strings.Contains(err.Error(), "for a moment") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRemoveReportsUnreadable holds that a volume or the content of a snapshot that
// cannot be read is reported, since it may stay on the storage: unless it is gone,
// or its class deletes it.
func TestRemoveReportsUnreadable(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("no right"))
	for _, c := range []struct {
		name    string
		err     error
		retains bool
		class   bool
		want    string
	}{
		{name: "it is gone", err: apierrors.NewNotFound(schema.GroupResource{}, "x")},
		{name: "the API server fails", err: apierrors.NewInternalError(errors.New("etcd is away")), class: true, want: "etcd is away"},
		{name: "the API server does not answer in time", err: context.DeadlineExceeded, class: true, want: "deadline"},
		{name: "no right, and the class deletes", err: forbidden, class: true},
		{name: "no right, and the class retains", err: forbidden, class: true, retains: true, want: "no right"},
		{name: "no right for the class either", err: forbidden, want: "no right"},
	} {
		for _, kind := range []string{"pv pv-x", "volumesnapshotcontent content-x"} {
			t.Run(c.name+"/"+kind, func(t *testing.T) {
				set := begun(t, interceptor.Funcs{Get: func(ctx context.Context, real client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					switch o := o.(type) {
					case *corev1.PersistentVolume, *snapshotv1.VolumeSnapshotContent:
						return c.err
					case *storagev1.StorageClass:
						if !c.class || key.Name != "fast" {
							return forbidden
						}
						o.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimDelete)
						if c.retains {
							o.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimRetain)
						}
						return nil
					case *snapshotv1.VolumeSnapshotClass:
						if !c.class || key.Name != "fast" {
							return forbidden
						}
						o.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete
						if c.retains {
							o.DeletionPolicy = snapshotv1.VolumeSnapshotContentRetain
						}
						return nil
					}
					return real.Get(ctx, key, o, opts...)
				}})
				var o client.Object = &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "gocache-x"}, Spec: corev1.PersistentVolumeClaimSpec{
					VolumeName: "pv-x", StorageClassName: ptr.To("fast")}}
				if kind != "pv pv-x" {
					o = &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "gocache-x"}, Spec: snapshotv1.VolumeSnapshotSpec{VolumeSnapshotClassName: ptr.To("fast")},
						Status: &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: ptr.To("content-x")}}
				}
				if err := set.Create(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				err := set.Remove(t.Context())
				if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "kubectl get "+kind)) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// TestDiffReportsLostPod holds that a comparison whose pod cannot be read any more
// is none, although its log was read.
func TestDiffReportsLostPod(t *testing.T) {
	p := play(append(snapshots(), installed())...)
	p.message = `{"from":"sha256:1","to":"sha256:2","counts":{"added":6}}`
	read := false
	c := interceptor.NewClient(p, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*corev1.PodList); ok && read {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no right any more"))
		}
		return c.List(ctx, list, opts...)
	}})
	set := &temporary.Set{Client: c, Namespace: "ci", Name: "gocache-x", Interval: time.Millisecond}
	_, err := diff.Run(t.Context(), set, diff.Options{
		From: "ci-1", To: "ci-2", Timeout: time.Minute, Progress: func(string) {},
		Image: func(context.Context) (string, error) { return "i", nil },
		Logs: func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
			read = true
			return io.NopCloser(strings.NewReader(changeLines)), nil
		},
	}, func(manifest.Change) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no right any more") {
		t.Errorf("%v", err)
	}
}

// TestDiffNeedsBoth holds that a snapshot without a record of its source, or
// without a VolumeSnapshot, cannot be compared.
func TestDiffNeedsBoth(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.CacheSnapshot){
		"no record":         func(s *v1alpha1.CacheSnapshot) { s.Status.Source = nil },
		"no VolumeSnapshot": func(s *v1alpha1.CacheSnapshot) { s.Status.VolumeSnapshotName = "" },
	} {
		all := snapshots()
		first, ok := all[0].(*v1alpha1.CacheSnapshot)
		if !ok {
			t.Fatal("no snapshot")
		}
		change(first)
		a, _, _ := working(t, play(append(all, installed())...))
		if err := run(t, a, "diff", "ci-1", "ci-2"); err == nil || !strings.Contains(err.Error(), "ci-1 is not created yet") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
