package volume

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// consumer is a pod with volumes.
func consumer(namespace, name string, volumes ...corev1.Volume) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name + "-uid")},
		Spec:       corev1.PodSpec{Volumes: volumes},
	}
}

func TestConsumers(t *testing.T) {
	mounts := func(claim string) corev1.Volume {
		return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}
	}
	ephemeral := func(name string) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
	}
	empty := corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	ended := consumer("n", "d-ended", mounts("ci"))
	ended.Status.Phase = corev1.PodSucceeded
	deleting := consumer("n", "c-deleting", mounts("ci"))
	deleting.DeletionTimestamp, deleting.Finalizers = &metav1.Time{Time: now}, []string{"test/hold"}
	live := builder(t,
		ended, deleting,
		consumer("n", "b-among-others", empty, mounts("other"), mounts("ci")), consumer("n", "a", mounts("ci")),
		consumer("n", "none"), consumer("n", "other", mounts("ci-next")), consumer("m", "elsewhere", mounts("ci")),
		consumer("n", "build", ephemeral("cache")), consumer("n", "build-2", ephemeral("x")),
	).Build()
	for claim, want := range map[string][]string{
		"ci": {"a", "b-among-others", "c-deleting", "d-ended"}, "build-cache": {"build"}, "build-2-x": {"build-2"}, "cache": nil, "unused": nil,
	} {
		pods, err := Consumers(t.Context(), live, "n", claim)
		var got []string
		for _, p := range pods {
			got = append(got, p.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("PVC %s: %v: %s", claim, err, diff)
		}
	}
	if pods, err := Consumers(t.Context(), broken(t, errBroken), "n", "ci"); !errors.Is(err, errBroken) || pods != nil {
		t.Errorf("the list fails: %v, %v", pods, err)
	}
}

func TestEvict(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	const budget = "Cannot evict pod as it would violate the pod's disruption budget."
	forbidden := apierrors.NewForbidden(pods, "p", errBroken)
	for _, tt := range []struct {
		name      string
		deleting  bool
		answer    error
		asked     bool
		objection string
		want      error
	}{
		{name: "it is evicted", asked: true},
		{name: "it is being deleted already", deleting: true, answer: errBroken},
		{name: "a budget objects", answer: apierrors.NewTooManyRequests(budget, 10), asked: true, objection: budget},
		{name: "it is gone", answer: apierrors.NewNotFound(pods, "p"), asked: true},
		{name: "another pod has its name", answer: apierrors.NewConflict(pods, "p", errBroken), asked: true},
		{name: "it is forbidden", answer: forbidden, asked: true, want: forbidden},
		{name: "the server is down", answer: errBroken, asked: true, want: errBroken},
		{name: "the server itself timed out", answer: context.DeadlineExceeded, asked: true, want: context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := false
			c := builder(t).WithInterceptorFuncs(interceptor.Funcs{
				SubResourceCreate: func(_ context.Context, _ client.Client, sub string, o, body client.Object, _ ...client.SubResourceCreateOption) error {
					asked = true
					e, ok := body.(*policyv1.Eviction)
					if sub != "eviction" || !ok || o.GetName() != "p" || e.Namespace != "n" || e.Name != "p" {
						t.Errorf("asked for %s of %s: %+v", sub, o.GetName(), body)
						return tt.answer
					}
					if e.DeleteOptions == nil || e.DeleteOptions.Preconditions == nil || ptr.Deref(e.DeleteOptions.Preconditions.UID, "") != "p-uid" {
						t.Errorf("a later pod of the name would be evicted, too: %+v", e.DeleteOptions)
					}
					return tt.answer
				},
			}).Build()
			pod := consumer("n", "p")
			if tt.deleting {
				pod.DeletionTimestamp = &metav1.Time{Time: now}
			}
			objection, err := Evict(t.Context(), c, pod)
			if asked != tt.asked {
				t.Errorf("asked: %v, want %v", asked, tt.asked)
			}
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if !strings.Contains(objection, tt.objection) || (objection == "") != (tt.objection == "") {
				t.Errorf("objection %q, want %q", objection, tt.objection)
			}
		})
	}
}

// TestEvictIsBounded holds that an API server that does not answer is an
// objection after seconds, and the end of the pass an error.
func TestEvictIsBounded(t *testing.T) {
	silent := builder(t).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(ctx context.Context, _ client.Client, _ string, _, _ client.Object, _ ...client.SubResourceCreateOption) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}).Build()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		objection, err := Evict(t.Context(), silent, consumer("n", "p"))
		if err != nil || !strings.Contains(objection, "PodDisruptionBudget") || time.Since(began) != 5*time.Second {
			t.Errorf("objection %q after %s, %v", objection, time.Since(began), err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if objection, err := Evict(ended, silent, consumer("n", "p")); !errors.Is(err, context.Canceled) || objection != "" {
			t.Errorf("the pass ends: objection %q, %v", objection, err)
		}
	})
}

func TestPendingSnapshot(t *testing.T) {
	of := func(namespace, name, claim string, status *snapshotv1.VolumeSnapshotStatus) *snapshotv1.VolumeSnapshot {
		s := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Status: status}
		if claim != "" {
			s.Spec.Source.PersistentVolumeClaimName = &claim
		}
		return s
	}
	pending := &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(false)}
	created := &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(false), CreationTime: ptr.To(metav1.NewTime(now))}
	usable := &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("c")}
	deleting := of("n", "deleting", "ci", nil)
	deleting.DeletionTimestamp, deleting.Finalizers = &metav1.Time{Time: now}, []string{"test/hold"}
	for name, tt := range map[string]struct {
		snapshots []client.Object
		want      string
	}{
		"none":                               {nil, ""},
		"new":                                {[]client.Object{of("n", "s", "ci", nil)}, "s"},
		"pending":                            {[]client.Object{of("n", "s", "ci", pending)}, "s"},
		"created, and not ready":             {[]client.Object{of("n", "s", "ci", created)}, ""},
		"ready, by a driver without a time":  {[]client.Object{of("n", "s", "ci", usable)}, ""},
		"being deleted":                      {[]client.Object{deleting}, ""},
		"of another PVC":                     {[]client.Object{of("n", "s", "ci-next", nil)}, ""},
		"of another namespace":               {[]client.Object{of("m", "s", "ci", nil)}, ""},
		"of content that exists, and no PVC": {[]client.Object{of("n", "s", "", nil)}, ""},
		"one of several": {[]client.Object{
			of("n", "a", "ci", created), of("n", "b", "other", nil), of("n", "c", "ci", pending), of("n", "d", "ci", usable),
		}, "c"},
	} {
		if got, err := PendingSnapshot(t.Context(), builder(t, tt.snapshots...).Build(), "n", "ci"); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
	made := of("n", "s", "ci", nil)
	made.CreationTimestamp = metav1.NewTime(now)
	for since, want := range map[time.Time]string{now: "s", now.Add(time.Second): ""} {
		if got, err := PendingSnapshotSince(t.Context(), builder(t, made.DeepCopy()).Build(), "n", "ci", since); err != nil || got != want {
			t.Errorf("requested since %s: %q, %v; want %q", since, got, err, want)
		}
	}
	if got, err := PendingSnapshot(t.Context(), broken(t, errBroken), "n", "ci"); !errors.Is(err, errBroken) || got != "" {
		t.Errorf("the list fails: %q, %v", got, err)
	}
}
