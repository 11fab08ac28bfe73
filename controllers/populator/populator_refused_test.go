package populator

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestOwnersAreNotified goes through what keeps a PVC from being filled: each
// is reported once, with what to do, and no intermediate PVC is made.
func TestOwnersAreNotified(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(w *world)
		change  func(c *corev1.PersistentVolumeClaim)
		want    []string
	}{
		"too small": {
			change: func(c *corev1.PersistentVolumeClaim) {
				c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("100Mi")
			},
			want: []string{"Warning TooSmall", "requests 100Mi", "resources.requests.storage: 1Gi"},
		},
		"convicted": {
			arrange: func(w *world) { w.verdict("ci-1", metav1.ConditionFalse) },
			want:    []string{"Warning SnapshotCorrupt", "ci-1"},
		},
		"nobody could tell": {
			arrange: func(w *world) { w.verdict("ci-1", metav1.ConditionUnknown) },
			want:    []string{"Normal Unverified", "ci-1"},
		},
		"never verified": {
			arrange: func(w *world) {
				w.create(&v1alpha1.CacheSnapshot{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "skipped"},
					Spec: v1alpha1.CacheSnapshotSpec{
						SourceRef:    v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"},
						Verification: v1alpha1.Verification{Mode: v1alpha1.VerificationSkip},
					},
				})
				w.snapshotted("skipped")
				w.verdict("skipped", metav1.ConditionTrue) // whatever its conditions are
			},
			change: func(c *corev1.PersistentVolumeClaim) { c.Spec.DataSourceRef.Name = "skipped" },
			want:   []string{"Warning Skipped", "verification mode Skip"},
		},
		"no such snapshot": {
			change: func(c *corev1.PersistentVolumeClaim) { c.Spec.DataSourceRef.Name = "absent" },
			want:   []string{"Warning SourceNotFound", "CacheSnapshot absent"},
		},
		"CSI snapshot deleted by hand": {
			arrange: func(w *world) { w.deleteCSISnapshot("ci-1") },
			want:    []string{"Warning SnapshotDeleting", "ci-1"},
		},
		"offered snapshot is of another cache": {
			arrange: func(w *world) {
				w.snapshot("other-1", "other", metav1.ConditionTrue)
				w.cache("ci", "other-1")
			},
			change: func(c *corev1.PersistentVolumeClaim) {
				c.Spec.DataSourceRef.Kind, c.Spec.DataSourceRef.Name = v1alpha1.GoCacheKind, "ci"
			},
			want: []string{"Normal NothingVerified", "ci"},
		},
		"no such class": {
			change: func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("absent") },
			want:   []string{"Warning ClassNotFound", "absent"},
		},
		"no class": {
			change: func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new("") },
			want:   []string{"Warning NoClass"},
		},
		"class of another driver": {
			arrange: func(w *world) {
				w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-nfs"}, Provisioner: "nfs.example.com"})
			},
			change: func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = new(c.Namespace + "-nfs") },
			want:   []string{"Warning ClassCannotClone", driver},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			if tc.arrange != nil {
				tc.arrange(w)
			}
			if tc.change == nil {
				tc.change = func(*corev1.PersistentVolumeClaim) {}
			}
			claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1", tc.change)
			w.schedule("data", "n1")
			w.settle("data")
			w.once(tc.want...)
			if n := len(w.events.all()); n != 1 {
				t.Errorf("%d events, want 1: %q", n, w.events.all())
			}
			if w.intermediateOf(claim) != nil {
				t.Error("an intermediate PVC was made")
			}
			if after := w.pass("data").RequeueAfter; after == 0 || after > time.Hour {
				t.Errorf("looks again after %s: nobody would be reminded", after)
			}
		})
	}
}

func (w *world) deleteCSISnapshot(of string) {
	w.t.Helper()
	s := &v1alpha1.CacheSnapshot{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: of}, s))
	prior := volume.Snapshot{Namespace: w.namespace, Name: s.Status.VolumeSnapshotName}.Object()
	w.must(server.Client.Delete(w.t.Context(), prior))
}

func TestStandingCauseIsReportedAgainBeforeItsEventExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache("ci", "")
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	after := w.pass("data").RequeueAfter
	w.pass("data")
	w.once("NothingVerified")
	w.now = w.now.Add(after)
	w.pass("data")
	if n := w.events.count("NothingVerified"); n != 2 {
		t.Errorf("reported %d times after %s, want 2", n, after)
	}
}

func TestQuotaIsReportedAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	hard := corev1.ResourceList{corev1.ResourcePersistentVolumeClaims: resource.MustParse("1")}
	quota, err := cluster.Enforce(t.Context(), server.Client, w.namespace, "few", hard, hard)
	w.must(err)
	w.schedule("data", "n1")
	w.settle("data")
	w.once("Warning Forbidden", "exceeded quota: few")
	if after := w.pass("data").RequeueAfter; after == 0 || after > time.Minute {
		t.Errorf("tried again after %s", after)
	}
	w.must(cluster.Lift(t.Context(), server.Client, quota))
	w.settle("data")
	w.populated("data", "ci-1")
}

// TestRefusalByAdmission holds that an owner sees each answer of admission by which the
// cluster refuses the intermediate PVC: policies answer with other codes than quotas, and
// webhooks with any.
func TestRefusalByAdmission(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"a policy":  apierrors.NewInvalid(schema.GroupKind{Kind: "PersistentVolumeClaim"}, "x", field.ErrorList{field.Required(field.NewPath("metadata", "labels"), "team is missing")}),
		"a webhook": apierrors.NewBadRequest("team is missing"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
			w.schedule("data", "n1")
			w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return refusal },
				Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					return refusal
				},
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return refusal
				},
			})
			if after := w.pass("data").RequeueAfter; after == 0 || after > time.Minute {
				t.Errorf("tried again after %s", after)
			}
			w.once("Warning Forbidden", "team is missing")
			w.reconciler.Client = server.Client
			w.settle("data")
			w.populated("data", "ci-1")
		})
	}
}

func TestForeignClaimInTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	obstacle := volume.Claim{Namespace: w.namespace, Name: volume.IntermediateName(claim.UID), Class: &w.class, Size: resource.MustParse("1Gi"), Snapshot: "ci-1-csi"}.Object()
	w.create(obstacle)
	w.settle("data")
	w.once("Warning Obstructed", obstacle.Name)
	w.must(server.Client.Delete(t.Context(), obstacle))
	w.settle("data")
	w.populated("data", "ci-1")
}

func TestProvisionersComplaintIsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stuck = true
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.pass("data")
	if after := w.pass("data").RequeueAfter; after == 0 || after > time.Minute {
		t.Errorf("looks again after %s", after)
	}

	w.now = w.now.Add(3 * time.Minute)
	w.settle("data")
	w.once("Warning CloneSilent", "the provisioner has reported nothing")

	w.complain(w.intermediateOf(claim), "first", "pool is full")
	w.settle("data")
	w.once("Warning CloneFailing", "pool is full")

	w.complain(w.intermediateOf(claim), "second", "pool is gone")
	w.settle("data")
	if w.events.count("pool is gone") != 0 {
		t.Error("other words for the same cause are said at once")
	}
	w.now = w.now.Add(repeatAfter)
	w.settle("data")
	w.once("Warning CloneFailing", "pool is gone")

	w.stuck = false
	w.settle("data")
	w.populated("data", "ci-1")
}

// complain is an event as the provisioner writes it.
func (w *world) complain(intermediate *corev1.PersistentVolumeClaim, name, text string) {
	w.t.Helper()
	if made := intermediate.CreationTimestamp.Time; made.After(w.now) { // the API server's clock goes on meanwhile
		w.now = made
	}
	w.now = w.now.Add(time.Second)
	w.create(&corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: w.namespace, Name: intermediate.Name, UID: intermediate.UID},
		Type:           corev1.EventTypeWarning, Reason: "ProvisioningFailed", Message: text,
		LastTimestamp: metav1.NewTime(w.now),
	})
}
