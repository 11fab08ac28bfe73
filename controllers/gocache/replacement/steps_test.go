package replacement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/jobrun"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/testing/failing"
)

var errBroken = errors.New("the server is down")

// broken is a reader that fails to read objects of one type.
func broken[T client.Object](t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	return interceptor.NewClient(clientOf(t, objects...).(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, is := o.(T); is {
				return errBroken
			}
			return c.Get(ctx, key, o, options...)
		},
	})
}

// verified is a CacheSnapshot of cache ci that can be restored, and its CSI snapshot.
func verified(name string) (*v1alpha1.CacheSnapshot, *snapshotv1.VolumeSnapshot) {
	s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: "u"}}
	s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	s.Status.Verification.Verdict = v1alpha1.VerdictIntact
	s.Status.Source = &v1alpha1.SourceRecord{StorageClassName: "fast", VolumeName: "v0", Capacity: ptr.To(resource.MustParse("1Gi"))}
	s.Status.VolumeSnapshotName, s.Status.VolumeSnapshotContentName = name, name
	s.Status.CreationTime = ptr.To(metav1.NewTime(now.Add(-time.Hour)))
	return s, &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
		Status:     &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To(name)},
	}
}

// TestRecordStep holds what each step leaves in the intent, and when the next pass looks
// again.
func TestRecordStep(t *testing.T) {
	pod := []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "build"}}}
	for name, tt := range map[string]struct {
		out       replacementrun.Outcome
		message   string
		consumers []string
		failure   string
		previous  string
		wake      time.Duration
	}{
		"it waits for its source":  {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForSource, Detail: "a snapshot"}}, "waits for a snapshot", nil, "", "v1", 0},
		"it waits for a while":     {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForRetry, After: time.Minute}}, "the check of the new volume was inconclusive and is repeated", nil, "", "v1", time.Minute},
		"it waits for the writer":  {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForIdle, Detail: "a Job to end"}}, "waits for a Job to end", nil, "", "v1", 0},
		"it waits for the check":   {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForCheck}}, "the new volume is being created and verified", nil, "", "v1", 0},
		"it waits for consumers":   {replacementrun.Outcome{Observed: replacementrun.Observed{Consumers: pod}, Decision: replacement.Decision{Step: replacement.WaitForConsumers}}, "waits for pod (build) to be gone", []string{"build"}, "", "v1", 0},
		"it has evicted consumers": {replacementrun.Outcome{Observed: replacementrun.Observed{Consumers: pod}, Decision: replacement.Decision{Step: replacement.Evict}}, "evicted pod (build) and waits for them to be gone", []string{"build"}, "", "v1", time.Second},
		"an eviction was refused": {replacementrun.Outcome{Observed: replacementrun.Observed{Consumers: pod}, Objection: "a budget", Decision: replacement.Decision{Step: replacement.Evict, After: time.Minute}},
			"an eviction was refused: a budget", []string{"build"}, "", "v1", 10 * time.Second},
		"the old volume is recorded": {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.RecordOld, Volume: "v9"}}, "", nil, "", "v9", 0},
		"it is given up":             {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.GiveUp, Detail: "no volume"}}, "", nil, "no volume", "v1", 0},
		"there is more to do":        {replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.MakeNext}}, "", nil, "", "v1", time.Second},
	} {
		cache, o := onFast()
		intent := &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Snapshot: "s", PreviousVolume: "v1", Consumers: []string{"before"}, Message: "before"}
		cache.Status.VolumeReplacement = intent
		a := attempt{Observed: o, cache: cache}
		a.record(tt.out, nil)
		if intent.Step != string(tt.out.Decision.Step) || intent.Message != tt.message || fmt.Sprint(intent.Consumers) != fmt.Sprint(tt.consumers) || intent.Failure != tt.failure || intent.PreviousVolume != tt.previous {
			t.Errorf("%s: %+v", name, intent)
		}
		if a.out.Wake != tt.wake || cache.Status.VolumeReplacement == nil {
			t.Errorf("%s: wakes in %s, want %s", name, a.out.Wake, tt.wake)
		}
	}
}

// TestRecordCheckOfNewVolume holds that the verdict on the new volume is recorded, and that
// one that holds something else than the snapshot is refused.
func TestRecordCheckOfNewVolume(t *testing.T) {
	bound := func(volume string) *corev1.PersistentVolumeClaim {
		p := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{VolumeName: volume}}
		p.Status.Phase = corev1.ClaimBound
		return p
	}
	for name, tt := range map[string]struct {
		digest  string // of the snapshot; "-": there is none
		failure string
		next    string
	}{
		"as the snapshot": {"sha256:1", "", "v2"}, "no snapshot": {"-", "", "v2"}, "not as the snapshot": {"sha256:2", "the new volume holds something else than s", ""},
	} {
		cache, o := onFast()
		intent := &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}
		cache.Status.VolumeReplacement = intent
		report, code := integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:1"}, int32(exitcode.OK)
		out := replacementrun.Outcome{Observed: replacementrun.Observed{Live: bound("v1"), Next: bound("v2")}, Decision: replacement.Decision{Step: replacement.RecordCheck}}
		out.Check = jobrun.Outcome{Phase: jobrun.Ended, Run: "j1", ExitCode: &code, Message: string(report.Fit(4096))}
		var snapshot *v1alpha1.CacheSnapshot
		if tt.digest != "-" {
			snapshot, _ = verified("s")
			snapshot.Status.Verification.Digest = tt.digest
		}
		a := attempt{Observed: o, cache: cache}
		a.record(out, snapshot)
		if intent.Check.Run != "j1" || intent.Check.Attempts != 1 || intent.NextVolume != tt.next || !strings.HasPrefix(intent.Failure, tt.failure) || (intent.Failure == "") != (tt.failure == "") {
			t.Errorf("%s: %+v", name, intent)
		}
	}
}

// TestRecordAbandoned holds that a replacement of a GoCache that was deleted ends, with
// what was known of it.
func TestRecordAbandoned(t *testing.T) {
	for failure, want := range map[string]string{"": "the GoCache was deleted", "no": "no"} {
		cache, o := onFast()
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementMigration, Failure: failure}
		a := attempt{Observed: o, cache: cache}
		a.record(replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.Abandon}}, nil)
		if last := cache.Status.LastVolumeReplacement; cache.Status.VolumeReplacement != nil || last == nil || last.Failure != want {
			t.Errorf("%q: %+v", failure, last)
		}
	}
}

// TestRecordFinishedInPart holds what is kept of the content after a migration that no
// warm-up preceded, and after a restore from a snapshot that is gone.
func TestRecordFinishedInPart(t *testing.T) {
	finished := func(change func(*v1alpha1.GoCache, *v1alpha1.VolumeReplacementStatus), reason v1alpha1.VolumeReplacementReason, live *corev1.PersistentVolumeClaim, snapshot *v1alpha1.CacheSnapshot) v1alpha1.GoCacheStatus {
		cache, o := onFast()
		cache.Status.ManifestDigest = "sha256:was"
		cache.Status.Toolchain = &v1alpha1.ToolchainRecord{Version: "go1"}
		intent := &v1alpha1.VolumeReplacementStatus{Reason: reason, Snapshot: "s", NextVolume: "v2", Size: ptr.To(resource.MustParse("1Gi"))}
		cache.Status.VolumeReplacement = intent
		change(cache, intent)
		a := attempt{Observed: o, cache: cache}
		a.recordFinished(replacementrun.Outcome{Observed: replacementrun.Observed{Live: live}}, snapshot)
		return cache.Status
	}
	nothing := func(*v1alpha1.GoCache, *v1alpha1.VolumeReplacementStatus) {}
	live := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{UID: "u2"}}
	seeded := func(c *v1alpha1.GoCache, _ *v1alpha1.VolumeReplacementStatus) {
		c.Status.WarmUp, c.Status.Content = v1alpha1.WarmUpStatus{}, &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore}
	}
	if s := finished(seeded, v1alpha1.ReplacementMigration, live, nil); s.Content.Reason != v1alpha1.ReplacementRestore || s.Content.Snapshot != "s" || s.WarmUp.PersistentVolumeClaimUID != "" {
		t.Errorf("moved, and never warmed: %+v", s)
	}
	warmed := func(c *v1alpha1.GoCache, _ *v1alpha1.VolumeReplacementStatus) {
		c.Status.Content = &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore}
	}
	if s := finished(warmed, v1alpha1.ReplacementMigration, live, nil); s.Content.Reason != v1alpha1.ReplacementMigration || s.WarmUp.PersistentVolumeClaimUID != "u2" {
		t.Errorf("moved, and warmed since: %+v", s)
	}
	if s := finished(nothing, v1alpha1.ReplacementMigration, nil, nil); s.Content.Reason != v1alpha1.ReplacementMigration || s.WarmUp.PersistentVolumeClaimUID != "u1" {
		t.Errorf("moved, the PVC is not seen yet: %+v", s)
	}
	if s := finished(nothing, v1alpha1.ReplacementRestore, live, nil); s.ManifestDigest != "" || s.Toolchain == nil || s.Storage.AppliedSize.String() != "1Gi" {
		t.Errorf("restored, the snapshot is gone: %+v", s)
	}
	if s := finished(nothing, v1alpha1.ReplacementRestore, live, &v1alpha1.CacheSnapshot{}); s.ManifestDigest != "" || s.Toolchain == nil {
		t.Errorf("restored from a snapshot without a record: %+v", s)
	}
	larger := func(_ *v1alpha1.GoCache, i *v1alpha1.VolumeReplacementStatus) {
		i.Size = ptr.To(resource.MustParse("2Gi"))
	}
	if s := finished(larger, v1alpha1.ReplacementRestore, live, nil); s.Storage.AppliedSize.String() != "1Gi" {
		t.Errorf("a larger volume: applied %s", s.Storage.AppliedSize)
	}
	unknown := func(c *v1alpha1.GoCache, _ *v1alpha1.VolumeReplacementStatus) { c.Status.Storage.AppliedSize = nil }
	if s := finished(unknown, v1alpha1.ReplacementRestore, live, nil); s.Storage.AppliedSize != nil {
		t.Errorf("a size that was never applied: %s", s.Storage.AppliedSize)
	}
}

// TestNotAnswered holds that a request that took the place of the one that a replacement
// was made for is not answered by it.
func TestNotAnswered(t *testing.T) {
	cache, o := onFast()
	cache.Status.Request = &v1alpha1.RequestStatus{Action: v1alpha1.RequestWarmUp, Outcome: v1alpha1.RequestAccepted}
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRequestedRollback, Snapshot: "s"}
	a := attempt{Observed: o, cache: cache}
	if a.end(); cache.Status.Request.Outcome != v1alpha1.RequestAccepted {
		t.Errorf("%+v", cache.Status.Request)
	}
	cache.Status.Request = &v1alpha1.RequestStatus{Action: v1alpha1.RequestRollback, Outcome: v1alpha1.RequestAccepted}
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRequestedRollback, Snapshot: "s"}
	if a.end(); cache.Status.Request.Message != "the cache PVC was rolled back to CacheSnapshot s" {
		t.Errorf("%+v", cache.Status.Request)
	}
}

// TestCopyInstead holds when the content is copied since the driver refuses a clone that is
// larger than its snapshot: only after it has refused.
func TestCopyInstead(t *testing.T) {
	const refusal = "failed to provision volume: requested volume size 2147483648 is greater than the size 1073741824 for the source snapshot"
	for name, tt := range map[string]struct {
		change func(*replacementrun.Outcome, *v1alpha1.VolumeReplacementStatus)
		event  string
		none   bool // the snapshot is gone
		copied bool
		wakes  bool
	}{
		"the driver refuses":    {func(*replacementrun.Outcome, *v1alpha1.VolumeReplacementStatus) {}, refusal, false, true, true},
		"no word of the driver": {func(*replacementrun.Outcome, *v1alpha1.VolumeReplacementStatus) {}, "", false, false, true},
		"another error":         {func(*replacementrun.Outcome, *v1alpha1.VolumeReplacementStatus) {}, "no room", false, false, true},
		"it is young": {func(o *replacementrun.Outcome, _ *v1alpha1.VolumeReplacementStatus) {
			o.Next.CreationTimestamp.Time = now.Add(-9 * time.Second)
		}, refusal, false, false, true},
		"it is bound":     {func(o *replacementrun.Outcome, _ *v1alpha1.VolumeReplacementStatus) { o.Next.Spec.VolumeName = "v2" }, refusal, false, false, false},
		"there is no PVC": {func(o *replacementrun.Outcome, _ *v1alpha1.VolumeReplacementStatus) { o.Next = nil }, refusal, false, false, false},
		"it is copied already": {func(_ *replacementrun.Outcome, i *v1alpha1.VolumeReplacementStatus) {
			i.Copied, i.Message = true, "copied"
		}, refusal, false, true, false},
		"another step": {func(o *replacementrun.Outcome, _ *v1alpha1.VolumeReplacementStatus) {
			o.Decision.Step = replacement.WaitForIdle
		}, refusal, false, false, false},
		"as large as the snapshot": {func(_ *replacementrun.Outcome, i *v1alpha1.VolumeReplacementStatus) {
			i.Size = ptr.To(resource.MustParse("1Gi"))
		}, refusal, false, false, false},
		"the snapshot is gone": {func(*replacementrun.Outcome, *v1alpha1.VolumeReplacementStatus) {}, refusal, true, false, false},
	} {
		next := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-next", UID: "next", CreationTimestamp: metav1.NewTime(now.Add(-10 * time.Second))}}
		var objects []client.Object
		if tt.event != "" {
			objects = append(objects, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "e"}, Type: corev1.EventTypeWarning, Message: tt.event, InvolvedObject: corev1.ObjectReference{UID: "next", Kind: "PersistentVolumeClaim", Name: "ci-next", Namespace: "n"}})
		}
		cache, o := onFast()
		intent := &v1alpha1.VolumeReplacementStatus{Size: ptr.To(resource.MustParse("2Gi"))}
		cache.Status.VolumeReplacement = intent
		out := replacementrun.Outcome{Observed: replacementrun.Observed{Next: next, Check: jobrun.Outcome{Run: "j1"}}, Decision: replacement.Decision{Step: replacement.WaitForCheck}}
		tt.change(&out, intent)
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, objects...)}, Observed: o, cache: cache}
		snapshot, _ := verified("s")
		if tt.none {
			snapshot = nil
		}
		if err := a.copyInstead(t.Context(), out, snapshot); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if intent.Copied != tt.copied || (a.out.Wake == 10*time.Second) != tt.wakes {
			t.Errorf("%s: %+v, wakes in %s", name, intent, a.out.Wake)
		}
		if recorded := intent.Check.Verdict == v1alpha1.VerdictInconclusive && intent.Check.Run == "j1" && intent.Check.Attempts == 1 && strings.HasSuffix(intent.Message, refusal); recorded != (name == "the driver refuses") {
			t.Errorf("%s: it counts as an attempt: %t, %+v", name, recorded, intent)
		}
	}
}

// TestHindrance holds that it is reported why the pod that verifies the new volume does
// not run, while that is what is waited for.
func TestHindrance(t *testing.T) {
	for name, tt := range map[string]struct {
		step  replacement.Step
		check jobrun.Outcome
		wake  time.Duration
		why   string
	}{
		"it does not run": {replacement.WaitForCheck, jobrun.Outcome{Phase: jobrun.Running, Run: "j1", Started: now.Add(-time.Minute)}, 5 * time.Second, ", but its pod cannot run yet: it has no pod"},
		"it is young":     {replacement.WaitForCheck, jobrun.Outcome{Phase: jobrun.Running, Run: "j1", Started: now}, 5 * time.Second, ""},
		"it has ended":    {replacement.WaitForCheck, jobrun.Outcome{Phase: jobrun.Ended, Run: "j1", Started: now.Add(-time.Minute)}, 0, ""},
		"another step":    {replacement.WaitForIdle, jobrun.Outcome{Phase: jobrun.Running, Run: "j1", Started: now.Add(-time.Minute)}, 0, ""},
	} {
		cache, o := onFast()
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Message: "m"}
		a := attempt{Reconciler: Reconciler{Live: clientOf(t)}, Observed: o, cache: cache}
		job := jobrun.Spec{Namespace: "n", Name: "ci-next"}.Object()
		if err := a.recordHindrance(t.Context(), replacementrun.Outcome{Observed: replacementrun.Observed{Job: job, Check: tt.check}, Decision: replacement.Decision{Step: tt.step}}); err != nil {
			t.Fatal(err)
		}
		if got := cache.Status.VolumeReplacement.Message; a.out.Wake != tt.wake || !strings.HasPrefix(got, "m"+tt.why) || tt.why == "" && got != "m" {
			t.Errorf("%s: %q, wakes in %s", name, got, a.out.Wake)
		}
	}
}

// TestDueRestore holds what a restore is begun with, what it waits for, and why it is
// refused.
func TestDueRestore(t *testing.T) {
	slow := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "slow"}, Provisioner: "other"}
	content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: snapshotv1.VolumeSnapshotContentSpec{Driver: "driver"}}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *v1alpha1.CacheSnapshot)
		class  string // of the intent; empty: there is none
		copied bool
		waits  string
		refuse string
	}{
		"a verified snapshot":        {func(*v1alpha1.GoCache, *v1alpha1.CacheSnapshot) {}, "fast", false, "", ""},
		"into the class of the spec": {func(c *v1alpha1.GoCache, _ *v1alpha1.CacheSnapshot) { c.Spec.Storage.StorageClassName = ptr.To("slow") }, "slow", true, "", ""},
		"nothing was applied yet": {func(c *v1alpha1.GoCache, s *v1alpha1.CacheSnapshot) {
			c.Status.Storage, s.Status.Source.StorageClassName = v1alpha1.CacheStorageStatus{}, "of-snapshot"
		}, "of-snapshot", false, "", ""},
		"into less": {func(c *v1alpha1.GoCache, _ *v1alpha1.CacheSnapshot) {
			c.Spec.Storage.Size = resource.MustParse("512Mi")
		}, "fast", true, "", ""},
		"no restore": {func(c *v1alpha1.GoCache, _ *v1alpha1.CacheSnapshot) { c.Spec.Restore = nil }, "", false, "", ""},
		"it was restored": {func(c *v1alpha1.GoCache, _ *v1alpha1.CacheSnapshot) {
			c.Status.LastHandledRestore = c.Spec.Restore.DeepCopy()
		}, "", false, "", ""},
		"it is not verified yet": {func(_ *v1alpha1.GoCache, s *v1alpha1.CacheSnapshot) { s.Status.Verification.Verdict = "" }, "", false, "CacheSnapshot s to be verified", ""},
		"another cache's":        {func(_ *v1alpha1.GoCache, s *v1alpha1.CacheSnapshot) { s.Spec.SourceRef.Name = "cd" }, "", false, "", "CacheSnapshot s was taken of something else"},
		"another kind's":         {func(_ *v1alpha1.GoCache, s *v1alpha1.CacheSnapshot) { s.Spec.SourceRef.Kind = v1alpha1.ModProxyKind }, "", false, "", "CacheSnapshot s was taken of something else"},
	} {
		cache, o := onFast()
		cache.Namespace = "n"
		cache.Spec.Restore = &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "s"}, RequestID: "1"}
		s, csi := verified("s")
		tt.change(cache, s)
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, s, csi, slow, content)}, Observed: o, cache: cache}
		intent, err := a.dueRestore(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (intent != nil) != (tt.class != "") || intent != nil && (intent.StorageClassName != tt.class || intent.Copied != tt.copied || intent.Restore.RequestID != "1" || intent.Snapshot != "s" || intent.Reason != v1alpha1.ReplacementRestore) {
			t.Errorf("%s: %+v", name, intent)
		}
		u := ptr.Deref(a.out.Unfulfilled, Unfulfilled{})
		if u.WaitsFor != tt.waits || u.Refused != tt.refuse || (a.out.Wake == pass.Interval) != (tt.waits+tt.refuse != "") || (u.Reason == v1alpha1.ReplacementRestore) != (tt.waits+tt.refuse != "") {
			t.Errorf("%s: %+v, wakes in %s", name, u, a.out.Wake)
		}
	}
	for name, live := range map[string]client.Client{"the snapshot": broken[*v1alpha1.CacheSnapshot](t), "its CSI snapshot": broken[*snapshotv1.VolumeSnapshot](t, func() client.Object { s, _ := verified("s"); return s }())} {
		cache, o := onFast()
		cache.Namespace = "n"
		cache.Spec.Restore = &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "s"}, RequestID: "1"}
		a := attempt{Reconciler: Reconciler{Live: live}, Observed: o, cache: cache}
		if err := a.begin(t.Context()); !errors.Is(err, errBroken) || cache.Status.VolumeReplacement != nil {
			t.Errorf("%s cannot be read: %v", name, err)
		}
	}
}

// TestDueRequestedRollback holds which snapshot a requested rollback goes to, and when the
// request is refused.
func TestDueRequestedRollback(t *testing.T) {
	for name, tt := range map[string]struct {
		argument string
		change   func(*v1alpha1.GoCache, *pass.Observed)
		want     string
		refused  string
		waits    bool
	}{
		"the newest":         {"", func(*v1alpha1.GoCache, *pass.Observed) {}, "new", "", false},
		"a named one":        {"old", func(*v1alpha1.GoCache, *pass.Observed) {}, "old", "", false},
		"none verified":      {"", func(_ *v1alpha1.GoCache, o *pass.Observed) { o.Snapshots = nil }, "", noneVerified, false},
		"none of this name":  {"gone", func(*v1alpha1.GoCache, *pass.Observed) {}, "", "CacheSnapshot gone does not exist", false},
		"one to be verified": {"young", func(*v1alpha1.GoCache, *pass.Observed) {}, "", "", true},
		"another request":    {"", func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Request.Action = v1alpha1.RequestWarmUp }, "", "", false},
	} {
		cache, o := corruptOnFast()
		cache.Namespace = "n"
		cache.Status.Request = &v1alpha1.RequestStatus{Action: v1alpha1.RequestRollback, Argument: tt.argument, Outcome: v1alpha1.RequestAccepted}
		young, csi := verified("young")
		young.Status.Verification.Verdict = ""
		objects := []client.Object{young, csi}
		for i := range o.Snapshots {
			_, csi := verified(o.Snapshots[i].Name)
			objects = append(objects, o.Snapshots[i].DeepCopy(), csi)
		}
		tt.change(cache, &o)
		a := attempt{Reconciler: Reconciler{Live: clientOf(t, objects...)}, Observed: o, cache: cache}
		intent, err := a.dueRequestedRollback(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := ptr.Deref(intent, v1alpha1.VolumeReplacementStatus{}); got.Snapshot != tt.want || tt.want != "" && got.Reason != v1alpha1.ReplacementRequestedRollback {
			t.Errorf("%s: %+v", name, got)
		}
		if req := cache.Status.Request; (req.Outcome == v1alpha1.RequestRefused) != (tt.refused != "") || req.Message != tt.refused || (a.out.Unfulfilled != nil) != tt.waits {
			t.Errorf("%s: %+v, %+v", name, req, a.out.Unfulfilled)
		}
	}
}

// TestBegin holds that the first replacement that is due is begun, and none while the PVC
// is going.
func TestBegin(t *testing.T) {
	begun := func(change func(*v1alpha1.GoCache, *pass.Observed)) (*v1alpha1.VolumeReplacementStatus, error) {
		cache, o := onFast()
		cache.Spec.Storage.StorageClassName = ptr.To("slow")
		change(cache, &o)
		a := attempt{Reconciler: Reconciler{Live: clientOf(t)}, Observed: o, cache: cache}
		err := a.replace(t.Context())
		return cache.Status.VolumeReplacement, err
	}
	if in, err := begun(func(*v1alpha1.GoCache, *pass.Observed) {}); err != nil || in == nil || in.Reason != v1alpha1.ReplacementMigration || in.PreviousVolume != "v1" || !in.StartTime.Time.Equal(now) ||
		in.StorageClassName != "slow" || in.Size.String() != "1Gi" || !strings.HasPrefix(in.Snapshot, "ci-migration-") {
		t.Errorf("a migration: %+v, %v", in, err)
	}
	if in, err := begun(func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.DeletionTimestamp = &metav1.Time{Time: now} }); err != nil || in != nil {
		t.Errorf("of a PVC that is going: %+v, %v", in, err)
	}
	if in, err := begun(func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.StorageClassName = nil }); err != nil || in != nil {
		t.Errorf("nothing is due: %+v, %v", in, err)
	}
}

// TestResume holds that a replacement rests, while its GoCache is suspended, that has not
// touched the PVC.
func TestResume(t *testing.T) {
	for name, tt := range map[string]struct {
		held, stored, advances bool
	}{"it has touched the PVC": {true, true, true}, "not yet": {false, true, false}, "it is not stored": {true, false, false}} {
		cache, o := onFast()
		cache.Namespace, cache.UID = "n", "c"
		if tt.held {
			cache.Finalizers = []string{v1alpha1.VolumeReplacementFinalizer}
		}
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Snapshot: "s", Size: ptr.To(resource.MustParse("1Gi"))}
		if tt.stored {
			o.Stored = cache.DeepCopy()
		}
		cache.Spec.Restore = &v1alpha1.Restore{RequestID: "9"} // was changed: that is the first thing that a pass records
		if _, err := (Reconciler{Live: clientOf(t)}).Resume(t.Context(), cache, o); err != nil {
			t.Fatal(err)
		}
		if got := cache.Status.VolumeReplacement.Failure != ""; got != tt.advances {
			t.Errorf("%s: advances %t", name, got)
		}
	}
}

// TestSource holds what a migration and a restore need before a volume is created.
func TestSource(t *testing.T) {
	live := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	going := live.DeepCopy()
	going.DeletionTimestamp = &metav1.Time{Time: now}
	other := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "other"}
	content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: snapshotv1.VolumeSnapshotContentSpec{Driver: "driver"}}
	for name, tt := range map[string]struct {
		reason  v1alpha1.VolumeReplacementReason
		class   string
		found   bool // the snapshot
		o       replacementrun.Observed
		want    replacement.Source
		created bool
		copied  bool
	}{
		"a migration, its snapshot is verified":  {v1alpha1.ReplacementMigration, "fast", true, replacementrun.Observed{Live: live}, replacement.Source{}, false, false},
		"a migration without its snapshot":       {v1alpha1.ReplacementMigration, "fast", false, replacementrun.Observed{Live: live}, replacement.Source{Waits: "CacheSnapshot s to be created"}, true, false},
		"a migration without its PVC":            {v1alpha1.ReplacementMigration, "fast", true, replacementrun.Observed{}, replacement.Source{Refused: "the cache PVC was deleted: there is nothing to move"}, false, false},
		"a migration of a PVC that is going":     {v1alpha1.ReplacementMigration, "fast", true, replacementrun.Observed{Live: going}, replacement.Source{Refused: "the cache PVC was deleted: there is nothing to move"}, false, false},
		"a migration to another driver":          {v1alpha1.ReplacementMigration, "other", true, replacementrun.Observed{Live: live}, replacement.Source{Waits: "the next pass"}, false, true},
		"a migration whose volume is being made": {v1alpha1.ReplacementMigration, "other", true, replacementrun.Observed{Live: live, Next: live}, replacement.Source{}, false, false},
		"a migration to a class that is missing": {v1alpha1.ReplacementMigration, "none", true, replacementrun.Observed{Live: live}, replacement.Source{Waits: "StorageClass none to exist"}, false, false},
		"the snapshot's own class is missing":    {v1alpha1.ReplacementRestore, "fast", true, replacementrun.Observed{}, replacement.Source{}, false, false},
		"a restore without its snapshot":         {v1alpha1.ReplacementRestore, "fast", false, replacementrun.Observed{}, replacement.Source{Refused: "CacheSnapshot s does not exist"}, false, false},
		"a restore without a class":              {v1alpha1.ReplacementRestore, "", true, replacementrun.Observed{}, replacement.Source{}, false, false},
		"a restore to another driver":            {v1alpha1.ReplacementRestore, "other", true, replacementrun.Observed{}, replacement.Source{}, false, false},
	} {
		cache, o := onFast()
		cache.Namespace = "n"
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: tt.reason, Snapshot: "s", StorageClassName: tt.class, Size: ptr.To(resource.MustParse("1Gi"))}
		s, csi := verified("s")
		created := false
		r := Reconciler{Live: clientOf(t, s, csi, other, content), CreateSnapshot: func(_ context.Context, _ *v1alpha1.GoCache, name string) error {
			created = name == "s"
			return nil
		}}
		if !tt.found {
			s = nil
		}
		a := attempt{Reconciler: r, Observed: o, cache: cache}
		got, err := a.source(t.Context(), s, tt.o)
		if err != nil || got != tt.want || created != tt.created || cache.Status.VolumeReplacement.Copied != tt.copied {
			t.Errorf("%s: %+v, %v, created %t, copied %t", name, got, err, created, cache.Status.VolumeReplacement.Copied)
		}
	}
}

// TestSourceFails holds that what cannot be read or created is an error, and no answer.
func TestSourceFails(t *testing.T) {
	s, csi := verified("s")
	for name, tt := range map[string]struct {
		live  client.Client
		class string
		found *v1alpha1.CacheSnapshot
	}{
		"the CSI snapshot": {broken[*snapshotv1.VolumeSnapshot](t), "other", s},
		"the class":        {broken[*storagev1.StorageClass](t, csi), "other", s},
		"the content":      {broken[*snapshotv1.VolumeSnapshotContent](t, csi, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}}), "other", s},
		"a new snapshot":   {clientOf(t), "other", nil},
	} {
		cache, o := onFast()
		cache.Namespace = "n"
		cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementMigration, Snapshot: "s", StorageClassName: tt.class, Size: ptr.To(resource.MustParse("1Gi"))}
		a := attempt{Observed: o, cache: cache}
		a.Live = tt.live
		a.CreateSnapshot = func(context.Context, *v1alpha1.GoCache, string) error { return errBroken }
		if _, err := a.source(t.Context(), tt.found, replacementrun.Observed{Live: &corev1.PersistentVolumeClaim{}}); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRevokedReasons holds that a replacement ends when what asked for it is taken back,
// by its reason.
func TestRevokedReasons(t *testing.T) {
	for name, tt := range map[string]struct {
		reason v1alpha1.VolumeReplacementReason
		change func(*v1alpha1.GoCache)
		want   string
	}{
		"a migration":                       {v1alpha1.ReplacementMigration, func(*v1alpha1.GoCache) {}, ""},
		"a migration to another class":      {v1alpha1.ReplacementMigration, func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = ptr.To("third") }, "spec.storage was changed"},
		"a migration that is not asked for": {v1alpha1.ReplacementMigration, func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = nil }, "spec.storage was changed"},
		"a migration to another size":       {v1alpha1.ReplacementMigration, func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("512Mi") }, "spec.storage was changed"},
		"a rollback":                        {v1alpha1.ReplacementRollback, func(*v1alpha1.GoCache) {}, ""},
		"a rollback that is only reported":  {v1alpha1.ReplacementRollback, func(c *v1alpha1.GoCache) { c.Spec.Integrity.OnCorrupt = v1alpha1.CacheReport }, "spec.integrity.onCorrupt is no longer Rollback"},
		"a requested rollback":              {v1alpha1.ReplacementRequestedRollback, func(c *v1alpha1.GoCache) { c.Spec.Integrity = nil }, ""},
	} {
		cache, o := onFast()
		cache.Spec.Storage.StorageClassName = ptr.To("slow")
		cache.Spec.Integrity = &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
		tt.change(cache)
		a := attempt{Observed: o, cache: cache}
		intent := &v1alpha1.VolumeReplacementStatus{Reason: tt.reason, StorageClassName: "slow", Size: ptr.To(resource.MustParse("1Gi")), PreviousVolume: "v1"}
		if got := a.revoked(intent); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		intent.PreviousVolume = "v0"
		if got := a.revoked(intent); got != "" {
			t.Errorf("%s, the PVC has another volume already: %q", name, got)
		}
	}
}

// TestReadyMessages holds what the condition Ready has of a replacement.
func TestReadyMessages(t *testing.T) {
	last := func(reason v1alpha1.VolumeReplacementReason) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			c.Spec.Restore, c.Spec.Storage.StorageClassName = &v1alpha1.Restore{}, ptr.To("slow")
			c.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1"}
			c.Status.Integrity.Verdict = v1alpha1.VerdictCorrupt
			c.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{Reason: reason, Snapshot: "s", Failure: "no volume"}
		}
	}
	begun := func(message, failure string) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Snapshot: "s", Message: message, Failure: failure}
		}
	}
	const replacing = "The volume of PVC ci is being replaced (Restore, from CacheSnapshot s)"
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache)
		u      *Unfulfilled
		want   string
	}{
		"begun":        {begun("", ""), nil, replacing},
		"it waits":     {begun("waits for a pod", ""), nil, replacing + ": waits for a pod"},
		"it is undone": {begun("waits for a pod", "no volume"), nil, replacing + ": waits for a pod; the replacement is undone: no volume"},
		"suspended, and held": {func(c *v1alpha1.GoCache) {
			begun("", "")(c)
			c.Spec.Suspend, c.Finalizers = true, []string{v1alpha1.VolumeReplacementFinalizer}
		}, nil, replacing},
		"suspended":          {func(c *v1alpha1.GoCache) { last(v1alpha1.ReplacementRestore)(c); c.Spec.Suspend = true }, nil, ""},
		"refused":            {func(*v1alpha1.GoCache) {}, &Unfulfilled{Reason: v1alpha1.ReplacementRestore, Refused: "it is Corrupt"}, "The volume of PVC ci is not replaced (Restore): it is Corrupt"},
		"not begun":          {func(*v1alpha1.GoCache) {}, &Unfulfilled{Reason: v1alpha1.ReplacementRestore, WaitsFor: "a snapshot"}, "The replacement of the volume of PVC ci (Restore) waits for a snapshot"},
		"a restore failed":   {last(v1alpha1.ReplacementRestore), nil, "spec.restore: CacheSnapshot s was not restored: no volume; set another requestID to try again"},
		"a migration failed": {last(v1alpha1.ReplacementMigration), nil, "spec.storage: the volume was not moved: no volume; it is tried again 1h0m0s later, or when spec.storage changes"},
		"a migration failed, and is not asked for": {func(c *v1alpha1.GoCache) {
			last(v1alpha1.ReplacementMigration)(c)
			c.Spec.Storage.StorageClassName = nil
		}, nil, ""},
		"a rollback failed": {last(v1alpha1.ReplacementRollback), nil, "The volume is Corrupt and could not be rolled back to CacheSnapshot s: no volume; it is tried again 1h0m0s later"},
		"a rollback failed of a volume that is intact": {func(c *v1alpha1.GoCache) {
			last(v1alpha1.ReplacementRollback)(c)
			c.Status.Integrity.Verdict = v1alpha1.VerdictIntact
		}, nil, ""},
		"the last one succeeded": {func(c *v1alpha1.GoCache) {
			last(v1alpha1.ReplacementRestore)(c)
			c.Status.LastVolumeReplacement.Failure = ""
		}, nil, ""},
	} {
		cache, o := onFast()
		tt.change(cache)
		if got := ptr.Deref(Status(cache, o, tt.u), Fact{}).Message; got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestRun holds what a replacement is carried out with.
func TestRun(t *testing.T) {
	cache, o := onFast()
	cache.Namespace = "n"
	cache.Spec.PodTemplate = &v1alpha1.PodTemplate{}
	deadline := 20 * time.Minute
	cache.Spec.Snapshots = &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Deadline: &metav1.Duration{Duration: deadline}, Resources: &v1alpha1.Resources{}}}
	cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}
	s, _ := verified("s")
	a := attempt{Reconciler: Reconciler{FieldOwner: "test", Image: "operator:1"}, Observed: o, cache: cache}
	r := a.run(s)
	if r.Claim != "ci" || r.Labels[v1alpha1.CacheLabel] != "ci" || r.FieldOwner != "test" || !r.Detached || len(r.AccessModes) != 1 || r.Intent.Snapshot != "s" ||
		r.Content.Snapshot != s || r.Content.Image != "operator:1" || r.Content.Template == nil || r.Content.Resources == nil || ptr.Deref(r.Content.Deadline, 0) != deadline {
		t.Errorf("%+v", r)
	}
	cache.Spec.Storage.DeletionPolicy, cache.Spec.Snapshots = v1alpha1.DeletionDelete, nil
	if r := a.run(s); r.Detached || r.Content.Deadline != nil {
		t.Errorf("%+v", r)
	}
	for own, labels := range map[bool]map[string]string{true: {v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}, false: {v1alpha1.CacheLabel: "ci"}} {
		if got := r.OwnPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}}); got != own {
			t.Errorf("labels %v: the operator's own %t", labels, got)
		}
	}
	if r.OwnPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "cd"}}}) {
		t.Error("a pod of another cache counts as its own")
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded: no step of a
// replacement counts as taken, and none is begun.
func TestEachFailure(t *testing.T) {
	intent := func(c *v1alpha1.GoCache, o *pass.Observed) {
		c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{
			Reason: v1alpha1.ReplacementRestore, Snapshot: "s", StorageClassName: "none", Size: ptr.To(resource.MustParse("1Gi")), Restore: &v1alpha1.Restore{RequestID: "1"},
		}
		c.Spec.Restore = c.Status.VolumeReplacement.Restore.DeepCopy()
		o.Stored = c.DeepCopy()
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache, *pass.Observed)
		calls  []string // some of them
	}{
		"it waits for its class": {intent, []string{"get *v1alpha1.CacheSnapshot", "get *v1.VolumeSnapshot", "get *v1.StorageClass", "get *v1.Job", "list *v1.PodList", "list *v1.VolumeSnapshotList"}},
		"a restore is due": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Storage.StorageClassName = ptr.To("other")
			c.Spec.Restore = &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "s"}, RequestID: "1"}
		}, []string{"get *v1alpha1.CacheSnapshot", "get *v1.StorageClass", "get *v1.VolumeSnapshotContent"}},
		"it is over": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Finalizers = []string{v1alpha1.VolumeReplacementFinalizer}
			o.Previous = &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-previous", CreationTimestamp: metav1.NewTime(now.Add(-1000 * time.Hour))}}
		}, []string{"patch *v1alpha1.GoCache", "delete *v1.PersistentVolumeClaim"}},
	} {
		given := func() (*v1alpha1.GoCache, pass.Observed) {
			cache, o := onFast()
			cache.Namespace, cache.UID = "n", "c"
			tt.change(cache, &o)
			return cache, o
		}
		fresh := func() client.WithWatch {
			cache, o := given()
			s, csi := verified("s")
			class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "other"}
			content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: snapshotv1.VolumeSnapshotContentSpec{Driver: "driver"}}
			objects := []client.Object{cache, s, csi, class, content}
			if o.Previous != nil {
				objects = append(objects, o.Previous)
			}
			return clientOf(t, objects...).(client.WithWatch)
		}
		calls := failing.Each(t, fresh, func(c client.Client) error {
			cache, o := given()
			cache.ResourceVersion = "999" // as the client has it
			_, err := (Reconciler{Client: c, Live: c, FieldOwner: "test", Image: "operator:1"}).Reconcile(t.Context(), cache, o)
			if err != nil && cache.Status.VolumeReplacement != nil && o.Stored.Status.VolumeReplacement == nil {
				t.Errorf("%s: %v, and begun", name, err)
			}
			return err
		})
		for _, want := range tt.calls {
			if !slices.Contains(calls, want) {
				t.Errorf("%s: no call %q in %v", name, want, calls)
			}
		}
	}
}
