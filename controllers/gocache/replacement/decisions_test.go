package replacement

import (
	"fmt"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/event"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/replacement"
)

func clientOf(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, snapshotv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	index := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&corev1.Event{}, "involvedObject.uid", index(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
		WithIndex(&corev1.Event{}, "type", index(func(e *corev1.Event) string { return e.Type })).Build()
}

// TestEvents holds which event each change of a replacement records, if any.
func TestEvents(t *testing.T) {
	intent := func(consumers ...string) *v1alpha1.VolumeReplacementStatus {
		return &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Snapshot: "s", Consumers: consumers}
	}
	result := func(failure string) *v1alpha1.VolumeReplacementResult {
		return &v1alpha1.VolumeReplacementResult{Reason: v1alpha1.ReplacementRestore, Snapshot: "s", Failure: failure}
	}
	for name, tt := range map[string]struct {
		was, is *v1alpha1.VolumeReplacementStatus
		last    *v1alpha1.VolumeReplacementResult
		want    string
	}{
		"nothing":                       {nil, nil, nil, ""},
		"nothing, one long ago":         {nil, nil, result(""), ""},
		"begun":                         {nil, intent(), nil, "VolumeReplacementStarted"},
		"goes on":                       {intent(), intent(), nil, ""},
		"waits for consumers":           {intent(), intent("pod"), nil, v1alpha1.ReasonWaitingForConsumers},
		"waits for consumers as it did": {intent("pod"), intent("pod", "another"), nil, ""},
		"done":                          {intent(), nil, result(""), "VolumeReplaced"},
		"failed":                        {intent(), nil, result("no"), v1alpha1.ReasonVolumeReplacementFailed},
		"gone without a result":         {intent(), nil, nil, ""},
	} {
		before, after := &v1alpha1.GoCache{}, &v1alpha1.GoCache{}
		before.Status.VolumeReplacement, after.Status.VolumeReplacement, after.Status.LastVolumeReplacement = tt.was, tt.is, tt.last
		recorder := events.NewFakeRecorder(10)
		event.Record(recorder, after, Events(before, after))
		close(recorder.Events)
		var reasons []string
		for e := range recorder.Events {
			reasons = append(reasons, strings.Fields(e)[1])
		}
		if got := strings.Join(reasons, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestPodsNamesFive holds that few pods are named, and more are counted.
func TestPodsNamesFive(t *testing.T) {
	for n, want := range map[int]string{
		1: "pod (p0)", 2: "2 pods (p0, p1)", 5: "5 pods (p0, p1, p2, p3, p4)", 6: "6 pods (p0, p1, p2, p3, p4, and 1 more)",
	} {
		var all []corev1.Pod
		for i := range n {
			all = append(all, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i)}})
		}
		if got := pods(all); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// corruptOnFast is a cache whose volume is Corrupt, and that is rolled back, with two
// verified snapshots.
func corruptOnFast() (*v1alpha1.GoCache, pass.Observed) {
	cache, o := onFast()
	cache.Spec.Integrity = &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
	cache.Status.Integrity = &v1alpha1.IntegrityStatus{VerificationStatus: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt}, VolumeName: "v1"}
	for i, name := range []string{"old", "new"} {
		s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: "u"}}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
		s.Status.Verification.Verdict = v1alpha1.VerdictIntact
		s.Status.Source = &v1alpha1.SourceRecord{StorageClassName: "fast", VolumeName: "v0"}
		s.Status.VolumeSnapshotName, s.Status.VolumeSnapshotContentName = name, name
		s.Status.CreationTime = ptr.To(metav1.NewTime(now.Add(time.Duration(i-10) * time.Hour)))
		o.Snapshots = append(o.Snapshots, s)
	}
	return cache, o
}

// TestDueRollback holds when a Corrupt volume is rolled back by itself, and to what.
func TestDueRollback(t *testing.T) {
	failed := func(ago time.Duration, volume string) func(*v1alpha1.GoCache, *pass.Observed) {
		return func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{
				Reason: v1alpha1.ReplacementRollback, Snapshot: "new", PreviousVolume: volume, Failure: "no", CompletionTime: metav1.NewTime(now.Add(-ago)),
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		want   string // the snapshot; empty: none
	}{
		"corrupt":            {func(*v1alpha1.GoCache, *pass.Observed) {}, "new"},
		"reported only":      {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Integrity.OnCorrupt = v1alpha1.CacheReport }, ""},
		"no policy":          {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Integrity = nil }, ""},
		"intact":             {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Integrity.Verdict = v1alpha1.VerdictIntact }, ""},
		"no volume":          {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.Status.Phase = corev1.ClaimPending }, ""},
		"no PVC":             {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC = nil }, ""},
		"none verified":      {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.Snapshots = nil }, ""},
		"failed just now":    {failed(time.Minute, "v1"), ""},
		"failed long ago":    {failed(2*retryAfter, "v1"), "old"},
		"failed on another":  {failed(time.Minute, "v0"), "new"},
		"failed an hour ago": {failed(retryAfter, "v1"), "old"},
	} {
		cache, o := corruptOnFast()
		cache.Namespace = "n"
		tt.change(cache, &o)
		var objects []client.Object
		for i := range o.Snapshots {
			objects = append(objects, &o.Snapshots[i], &snapshotv1.VolumeSnapshot{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: o.Snapshots[i].Name},
				Status:     &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To(o.Snapshots[i].Name)},
			})
		}
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, objects...)}, Observed: o, cache: cache}
		intent, err := a.dueRollback(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := ""
		if intent != nil {
			got = intent.Snapshot
		} else if u := a.out.Unfulfilled; u != nil {
			got = fmt.Sprintf("%+v", u)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestComplete holds that a snapshot is judged until the volume of the new PVC is
// recorded: from then on, there is no way back, whatever becomes of the snapshot.
func TestComplete(t *testing.T) {
	for name, tt := range map[string]struct {
		made string // the new volume
		want bool   // the source is judged
	}{"before": {"", true}, "after": {"v2", false}} {
		cache, o := onFast()
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Snapshot: "gone"}
		a := attempt{Reconciler: Reconciler{Live: clientOf(t)}, Observed: o, cache: cache}
		f := replacement.Observation{}
		f.Intent.New = tt.made
		if err := a.complete(t.Context(), nil, replacementrun.Observed{}, &f); err != nil {
			t.Fatal(err)
		}
		if got := f.Source != (replacement.Source{}); got != tt.want || !f.Keep || f.Evict || f.Deleting || f.Discard || !f.Now.Equal(now) || f.Busy != "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestCompleteOfDeleted holds that content is given up only where the cache is
// deleted with its volume, and what the spec declares of pods and the old volume.
func TestCompleteOfDeleted(t *testing.T) {
	cache, o := onFast()
	cache.DeletionTimestamp = ptr.To(metav1.NewTime(now))
	cache.Spec.Storage.VolumeReplacement = v1alpha1.VolumeReplacement{Consumers: v1alpha1.ConsumersEvict, KeepPrevious: &metav1.Duration{}}
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
	for policy, discard := range map[v1alpha1.DeletionPolicy]bool{v1alpha1.DeletionDelete: true, v1alpha1.DeletionRetain: false} {
		cache.Spec.Storage.DeletionPolicy = policy
		a := attempt{Reconciler: Reconciler{Live: clientOf(t)}, Observed: o, cache: cache}
		f := replacement.Observation{}
		f.Intent.New = "v2"
		if err := a.complete(t.Context(), nil, replacementrun.Observed{}, &f); err != nil {
			t.Fatal(err)
		}
		if !f.Deleting || !f.Evict || f.Keep || f.Discard != discard {
			t.Errorf("%s: %+v", policy, f)
		}
	}
}

// TestBusy holds what of the operator itself a replacement waits for.
func TestBusy(t *testing.T) {
	cache, o := onFast()
	cache.Namespace, cache.UID = "n", "c"
	writer := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: naming.Child("ci", naming.Writer), Labels: pass.Labels(cache),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GoCacheKind, Name: "ci", UID: "c", Controller: ptr.To(true)}}}}
	foreign := writer.DeepCopy()
	foreign.OwnerReferences[0].UID = "another"
	pending := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "vs"}}
	pending.Spec.Source.PersistentVolumeClaimName = ptr.To("ci")
	ready := pending.DeepCopy()
	ready.Status = &snapshotv1.VolumeSnapshotStatus{CreationTime: ptr.To(metav1.NewTime(now)), ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("c")}
	for name, tt := range map[string]struct {
		object client.Object
		pods   []corev1.Pod
		want   string
	}{
		"nothing":            {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}, nil, ""},
		"the writer":         {writer, nil, "Job ci-writer"},
		"another's Job":      {foreign, nil, ""},
		"a pod":              {ready, []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "w"}}}, "pod w"},
		"a snapshot":         {pending, nil, "VolumeSnapshot vs"},
		"a created snapshot": {ready, nil, ""},
	} {
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, tt.object)}, Observed: o, cache: cache}
		got, err := a.busy(t.Context(), replacementrun.Observed{OwnPods: tt.pods})
		if err != nil || got == "" && tt.want != "" || tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
}

// TestDeletePrevious holds when the PVC of the volume that was replaced is deleted.
func TestDeletePrevious(t *testing.T) {
	for name, tt := range map[string]struct {
		age     time.Duration
		change  func(*v1alpha1.GoCache, *pass.Observed)
		deleted bool
	}{
		"young":      {167 * time.Hour, func(*v1alpha1.GoCache, *pass.Observed) {}, false},
		"at its end": {168 * time.Hour, func(*v1alpha1.GoCache, *pass.Observed) {}, true},
		"while another comes": {169 * time.Hour, func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, false},
		"kept for an hour": {2 * time.Hour, func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Storage.VolumeReplacement.KeepPrevious = &metav1.Duration{Duration: time.Hour}
		}, true},
		"offered": {169 * time.Hour, func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Status.LatestVerifiedSnapshot = "s"
			s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
			s.Status.Source = &v1alpha1.SourceRecord{VolumeName: "v0"}
			o.Snapshots = []v1alpha1.CacheSnapshot{s}
		}, false},
	} {
		cache, o := onFast()
		previous := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-previous", CreationTimestamp: metav1.NewTime(now.Add(-tt.age))}}
		previous.Spec.VolumeName = "v0"
		c := clientOf(t, previous)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(previous), previous); err != nil {
			t.Fatal(err)
		}
		o.Previous = previous
		tt.change(cache, &o)
		a := attempt{Reconciler: Reconciler{Client: c, Live: c}, Observed: o, cache: cache}
		if err := a.deletePrevious(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := c.Get(t.Context(), client.ObjectKeyFromObject(previous), &corev1.PersistentVolumeClaim{})
		if gone := client.IgnoreNotFound(err) == nil && err != nil; gone != tt.deleted || len(a.out.Events) > 0 != tt.deleted {
			t.Errorf("%s: gone %v, events %v, %v", name, gone, a.out.Events, err)
		}
	}
}

// TestMustCopy holds when a driver cannot restore a snapshot as it is.
func TestMustCopy(t *testing.T) {
	content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "content"}}
	content.Spec.Driver = "a"
	class := func(name, provisioner string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner}
	}
	for name, tt := range map[string]struct {
		size, class string
		want        bool
	}{
		"as it was":         {"1Gi", "fast", false},
		"no class":          {"1Gi", "", false},
		"less":              {"512Mi", "fast", true},
		"the same driver":   {"1Gi", "slow", false},
		"another driver":    {"1Gi", "other", true},
		"an unknown class":  {"1Gi", "none", false},
		"more, and as fast": {"2Gi", "fast", false},
	} {
		s := &v1alpha1.CacheSnapshot{}
		s.Status.Source = &v1alpha1.SourceRecord{StorageClassName: "fast", Capacity: ptr.To(resource.MustParse("1Gi"))}
		s.Status.RestoreSize, s.Status.VolumeSnapshotContentName = ptr.To(resource.MustParse("1Gi")), "content"
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, content, class("fast", "a"), class("slow", "a"), class("other", "b"))}}
		got, err := a.mustCopy(t.Context(), &v1alpha1.VolumeReplacementStatus{Size: ptr.To(resource.MustParse(tt.size)), StorageClassName: tt.class}, s)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestRecordFinished holds what the status has after the volume was replaced: what the
// new one holds, by the reason for the replacement.
func TestRecordFinished(t *testing.T) {
	for _, reason := range []v1alpha1.VolumeReplacementReason{v1alpha1.ReplacementMigration, v1alpha1.ReplacementRestore} {
		cache, o := onFast()
		cache.Status.Counts, cache.Status.ManifestDigest = v1alpha1.CacheCounts{Modules: 1}, "sha256:was"
		intent := &v1alpha1.VolumeReplacementStatus{Reason: reason, Snapshot: "s", NextVolume: "v2", Failure: "on the way", Size: ptr.To(resource.MustParse("512Mi")),
			Restore: &v1alpha1.Restore{RequestID: "7"}}
		intent.Check.Counts.Modules, intent.Check.Counts.BuildEntries = 5, 6
		cache.Status.VolumeReplacement = intent
		snapshot := &v1alpha1.CacheSnapshot{}
		snapshot.Status.Source = &v1alpha1.SourceRecord{SealedDigest: "sha256:is", Toolchain: &v1alpha1.ToolchainRecord{Version: "go1.26.8"}}
		a := attempt{Observed: o, cache: cache}
		a.recordFinished(replacementrun.Outcome{Observed: replacementrun.Observed{Live: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci", UID: "u2"}}}}, snapshot)
		s := cache.Status
		if s.VolumeReplacement != nil || s.LastVolumeReplacement == nil || s.LastVolumeReplacement.Failure != "" || !a.out.Replaced || a.out.PVC.UID != "u2" ||
			s.Content == nil || s.Content.VolumeName != "v2" || s.Content.Reason != reason || s.Storage.AppliedSize.String() != "512Mi" {
			t.Errorf("%s: %+v, out %+v", reason, s, a.out)
		}
		moved := reason == v1alpha1.ReplacementMigration
		if uid := s.WarmUp.PersistentVolumeClaimUID; moved != (uid == "u2") {
			t.Errorf("%s: warmed PVC %s", reason, uid)
		}
		if moved != (s.ManifestDigest == "sha256:was") || moved != (s.Counts.Modules == 1) || moved != (s.Toolchain == nil) || moved != (s.LastHandledRestore == nil) {
			t.Errorf("%s: %+v", reason, s)
		}
	}
}

// TestAnswer holds that the request for a rollback is answered by its result.
func TestAnswer(t *testing.T) {
	for failure, want := range map[string]v1alpha1.RequestOutcome{"": v1alpha1.RequestSucceeded, "no": v1alpha1.RequestFailed} {
		cache, o := onFast()
		cache.Status.Request = &v1alpha1.RequestStatus{Action: v1alpha1.RequestRollback, Name: "r", Outcome: v1alpha1.RequestAccepted}
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRequestedRollback, Snapshot: "s", Failure: failure}
		a := attempt{Observed: o, cache: cache}
		a.end()
		if got := cache.Status.Request; got == nil || got.Outcome != want {
			t.Errorf("%q: %+v, want %s", failure, got, want)
		}
	}
}
