package replacement_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
)

var (
	errBroken = errors.New("the server is down")
	now       = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

// converters take most of a second to make, for each client again.
var converters = sync.OnceValue(func() []managedfields.TypeConverter {
	return []managedfields.TypeConverter{clientgoapply.NewTypeConverter(clientgoscheme.Scheme), managedfields.NewDeducedTypeConverter()}
})

// world is a cluster without controllers, in which cache "ci" has a bound PVC on
// volume "old" and a verified snapshot "ci-1" of it.
type world struct {
	t      *testing.T
	client client.WithWatch
	run    replacementrun.Run
	// facts are the part that only a controller observes.
	facts replacement.Observation
	// writes that were made, like "delete PersistentVolumeClaim ci".
	writes []string
	// fail answers a call of a pass before it is made, by its verb, kind and name.
	fail    func(verb, kind, name string) error
	passing bool
	uids    int
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme() // of a few kinds: the fake client goes through all of them at each write
	if err := errors.Join(corev1.AddToScheme(scheme), batchv1.AddToScheme(scheme), policyv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, facts: replacement.Observation{Now: now}}
	owner := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: "owner-uid"}}
	live, old := bound("ci", "old")
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithTypeConverters(converters()...).
		WithObjects(append(objects, owner, live, old)...).WithInterceptorFuncs(w.interceptors(scheme)).Build()
	w.run = replacementrun.Run{
		Client: w.client, Live: w.client, FieldOwner: "test", Claim: "ci", Labels: map[string]string{v1alpha1.CacheLabel: "ci"},
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}, Detached: true,
	}
	w.run.Intent = &v1alpha1.VolumeReplacementStatus{Snapshot: "ci-1", StorageClassName: "fast", Size: ptr.To(resource.MustParse("5Gi"))}
	w.run.Content = replacementrun.Content{Snapshot: cacheSnapshot(), Image: "example.com/operator:1"}
	w.reload()
	return w
}

func cacheSnapshot() *v1alpha1.CacheSnapshot {
	s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-1"}}
	s.Status.VolumeSnapshotName = "csi-1"
	s.Status.RestoreSize = ptr.To(resource.MustParse("3Gi"))
	s.Status.Source = newRecord()
	s.Status.Source.VolumeName, s.Status.Source.StorageClassName = "old", "standard"
	s.Status.Source.Capacity = ptr.To(resource.MustParse("4Gi"))
	s.Status.Source.Layers = []v1alpha1.CacheLayer{v1alpha1.LayerModules}
	s.Status.Source.Platform = "linux/arm64"
	return s
}

// newRecord is an empty record of what a volume holds.
func newRecord() *v1alpha1.SourceRecord { return &v1alpha1.SourceRecord{} }

// bound is a PVC of cache "ci" and the volume that it is bound to.
func bound(claim, name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: claim, UID: types.UID(claim + "-uid"), CreationTimestamp: metav1.NewTime(now.Add(-time.Hour)),
			Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"},
		},
		Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: name},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	return pvc, volumeFor(pvc, name)
}

func volumeFor(pvc *corev1.PersistentVolumeClaim, name string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + "-uid")},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: "of-" + name, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
		},
	}
}

// interceptors record the writes, and let calls fail.
func (w *world) interceptors(scheme *runtime.Scheme) interceptor.Funcs {
	kindOf := func(o runtime.Object) string {
		gvk, err := apiutil.GVKForObject(o, scheme)
		if err != nil {
			w.t.Fatal(err)
		}
		return gvk.Kind
	}
	before := func(verb, kind, name string) error {
		if !w.passing {
			return nil
		}
		if w.fail != nil {
			if err := w.fail(verb, kind, name); err != nil {
				return err
			}
		}
		if verb != "get" && verb != "list" {
			w.writes = append(w.writes, fmt.Sprintf("%s %s %s", verb, kind, name))
		}
		return nil
	}
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if err := before("get", kindOf(o), key.Name); err != nil {
				return err
			}
			return c.Get(ctx, key, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if err := before("list", kindOf(list), ""); err != nil {
				return err
			}
			return c.List(ctx, list, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := before("create", kindOf(o), o.GetName()); err != nil {
				return err
			}
			o.SetUID(w.uid())
			return c.Create(ctx, o, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			if err := before("delete", kindOf(o), o.GetName()); err != nil {
				return err
			}
			return c.Delete(ctx, o, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if err := before("patch", kindOf(o), o.GetName()); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			applied := o.(interface {
				client.Object
				GetAPIVersion() string
				GetKind() string
			})
			if err := before("apply", applied.GetKind(), applied.GetName()); err != nil {
				return err
			}
			if err := c.Apply(ctx, o, options...); err != nil {
				return err
			}
			made := &unstructured.Unstructured{}
			made.SetAPIVersion(applied.GetAPIVersion())
			made.SetKind(applied.GetKind())
			if err := c.Get(ctx, client.ObjectKeyFromObject(applied), made); err != nil {
				return err
			}
			made.SetUID(w.uid()) // which the fake client does not
			return c.Update(ctx, made)
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, body client.Object, options ...client.SubResourceCreateOption) error {
			if err := before(sub, kindOf(o), o.GetName()); err != nil {
				return err
			}
			return c.SubResource(sub).Create(ctx, o, body, options...)
		},
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// get reads an object again; nil: it does not exist.
func get[T any, P interface {
	*T
	client.Object
}](w *world, name string) P {
	w.t.Helper()
	o := P(new(T))
	key := client.ObjectKey{Name: name}
	if _, cluster := any(o).(*corev1.PersistentVolume); !cluster {
		key.Namespace = "n"
	}
	if err := w.client.Get(w.t.Context(), key, o); client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return o
}

// reload reads the owner, as each pass of a controller does.
func (w *world) reload() { w.run.Owner = get[v1alpha1.GoCache](w, "ci") }

// advance takes steps until one waits or is the caller's, and returns what was
// decided last and what was written.
func (w *world) advance() (replacementrun.Outcome, []string) {
	w.t.Helper()
	out, writes, err := w.tryAdvance()
	w.must(err)
	return out, writes
}

func (w *world) tryAdvance() (replacementrun.Outcome, []string, error) {
	w.t.Helper()
	w.writes, w.passing = nil, true
	out, err := w.run.Advance(w.t.Context(), w.complete)
	w.passing = false
	return out, slices.Clone(w.writes), err
}

func (w *world) complete(_ context.Context, _ replacementrun.Observed, f *replacement.Observation) error {
	f.Now, f.Source, f.Busy = w.facts.Now, w.facts.Source, w.facts.Busy
	f.Evict, f.Keep, f.Deleting, f.Discard = w.facts.Evict, w.facts.Keep, w.facts.Deleting, w.facts.Discard
	return nil
}

// controllers do what those of a cluster do: they bind PVCs, and run Jobs to their
// end.
func (w *world) controllers(exit int32) {
	w.t.Helper()
	ctx := w.t.Context()
	var jobs batchv1.JobList
	w.must(w.client.List(ctx, &jobs))
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if len(j.Status.Conditions) > 0 {
			continue
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: j.Name + "-pod", Labels: maps.Clone(j.Spec.Template.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))},
		}, Spec: j.Spec.Template.Spec}
		pod.Labels[batchv1.JobNameLabel], pod.Labels[batchv1.ControllerUidLabel] = j.Name, string(j.UID)
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit}}}}
		w.must(w.client.Create(ctx, pod))
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		w.must(w.client.Status().Update(ctx, j))
	}
	var claims corev1.PersistentVolumeClaimList
	w.must(w.client.List(ctx, &claims))
	for i := range claims.Items {
		c := &claims.Items[i]
		if c.Status.Phase == corev1.ClaimBound {
			continue
		}
		if c.Spec.VolumeName == "" {
			c.Spec.VolumeName = "new"
			w.must(w.client.Create(ctx, volumeFor(c, "new")))
		}
		v := get[corev1.PersistentVolume](w, c.Spec.VolumeName)
		if ref := v.Spec.ClaimRef; ref.Namespace != "n" || ref.Name != c.Name || ref.UID != "" && ref.UID != c.UID {
			w.t.Fatalf("PVC %s cannot have volume %s, which is reserved for %+v", c.Name, v.Name, ref)
		}
		v.Spec.ClaimRef.UID = c.UID
		w.must(w.client.Update(ctx, v))
		w.must(w.client.Update(ctx, c))
		c.Status.Phase = corev1.ClaimBound
		w.must(w.client.Status().Update(ctx, c))
	}
}

// collect removes the pods of Jobs that are gone.
func (w *world) collect() {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.client.List(w.t.Context(), &pods, client.HasLabels{batchv1.JobNameLabel}))
	for i := range pods.Items {
		if get[batchv1.Job](w, pods.Items[i].Labels[batchv1.JobNameLabel]) == nil {
			w.must(w.client.Delete(w.t.Context(), &pods.Items[i]))
		}
	}
}

// settle lets the cluster do all that it does by itself.
func (w *world) settle() {
	w.t.Helper()
	w.collect()
	w.controllers(0)
	w.reload()
}

// record writes a verdict into the intent, as a controller does.
func (w *world) record(out replacementrun.Outcome, verdict v1alpha1.Verdict) {
	replacement.Record(w.run.Intent, v1alpha1.VerificationStatus{Verdict: verdict, Run: out.Check.Run, CompletionTime: ptr.To(metav1.NewTime(now))},
		out.Live.Spec.VolumeName, out.Next.Spec.VolumeName, "")
}

func (w *world) uid() types.UID {
	w.uids++
	return types.UID(fmt.Sprint("uid-", w.uids))
}

// at asserts the step that was decided last and the writes that led to it.
func (w *world) at(step replacement.Step, writes ...string) replacementrun.Outcome {
	w.t.Helper()
	out, got := w.advance()
	if out.Decision.Step != step {
		w.t.Fatalf("step %s (%s), want %s", out.Decision.Step, out.Decision.Detail, step)
	}
	if !slices.Equal(got, writes) {
		w.t.Fatalf("before step %s:\n %s\nwant\n %s", step, strings.Join(got, "\n "), strings.Join(writes, "\n "))
	}
	return out
}
