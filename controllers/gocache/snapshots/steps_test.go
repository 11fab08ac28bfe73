package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/testing/failing"
)

var errBroken = errors.New("the server is down")

// reconciler works on a cluster with these objects.
func reconciler(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) Reconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return Reconciler{Client: c, Live: c, FieldOwner: "test"}
}

// usable makes a snapshot of "of" one that PVCs can be populated from.
func usable(s v1alpha1.CacheSnapshot) v1alpha1.CacheSnapshot {
	s.Status.VolumeSnapshotName, s.Status.CreationTime = s.Name, ptr.To(metav1.NewTime(now.Add(-time.Hour)))
	return s
}

// failed makes a snapshot of "of" one that can never be used.
func failed(s v1alpha1.CacheSnapshot, verdict v1alpha1.Verdict) v1alpha1.CacheSnapshot {
	s.Status.Verification.Verdict, s.Status.CreationTime = verdict, ptr.To(metav1.NewTime(now.Add(-time.Minute)))
	s.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDeadlineExceeded},
		{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Message: "it is broken"},
	}
	return s
}

// TestReconcile holds that a snapshot that is due is created, recorded and reported, and
// when the next pass looks again.
func TestReconcile(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.GoCache, *pass.Observed)
		created bool
		cause   string
		wake    time.Duration
	}{
		"warmed": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.WarmUp.LastSuccessTime = ptr.To(metav1.NewTime(now))
		}, true, "the cache was warmed", 0},
		"nothing is due": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.SnapshottedRun = "r1" }, false, "", 0},
		"no API of snapshots": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Status.SnapshottedRun, o.SnapshotAPIMissing = "r1", "it is not served"
		}, false, "", csisnapshot.ServedInterval},
		"the volume is replaced": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			*c, *o = *first(replaced(time.Hour)), second(replaced(time.Hour))
		}, false, "", 83 * time.Hour},
		"the previous volume goes": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			*c, *o = *first(replaced(96 * time.Hour)), second(replaced(96*time.Hour))
		}, true, "the snapshot that is offered is of the previous volume", 0},
	} {
		cache, o := warmed()
		tt.change(cache, &o)
		cache.Namespace, cache.UID, cache.Spec.Snapshots.Retention.KeepLast = "n", "u", 3 // the default
		for i := range o.Snapshots {
			o.Snapshots[i].Namespace = "n"
		}
		r := reconciler(t, interceptor.Funcs{})
		out, err := r.Reconcile(t.Context(), cache, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var list v1alpha1.CacheSnapshotList
		if err := r.Client.List(t.Context(), &list); err != nil || (len(list.Items) == 1) != tt.created || (out.Created != "") != tt.created || out.Cause != tt.cause || out.Wake != tt.wake {
			t.Errorf("%s: %d snapshots, %+v, %v", name, len(list.Items), out, err)
			continue
		}
		if tt.created {
			s := list.Items[0]
			if s.Name != out.Created || s.Spec.SourceRef != (v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}) || s.Labels[v1alpha1.CacheLabel] != "ci" || cache.Status.LatestSnapshot != s.Name {
				t.Errorf("%s: %+v, latest %s", name, s, cache.Status.LatestSnapshot)
			}
			if want := fmt.Sprintf("[{Normal SnapshotRequested Snapshot Asked for CacheSnapshot %s: %s <nil>}]", s.Name, tt.cause); fmt.Sprint(out.Events) != want {
				t.Errorf("%s: %v", name, out.Events)
			}
		}
	}
}

func first(c *v1alpha1.GoCache, _ pass.Observed) *v1alpha1.GoCache { return c }

func second(_ *v1alpha1.GoCache, o pass.Observed) pass.Observed { return o }

// TestCreateOfPresentOnce holds that a snapshot of the present volume which exists is not
// created again, though the list is old.
func TestCreateOfPresentOnce(t *testing.T) {
	cache, o := replaced(96 * time.Hour)
	cache.Namespace = "n"
	due, _ := due(cache, o)
	if due == nil {
		t.Fatal("none is due")
	}
	there := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: due.Name}}
	var out Result
	if err := reconciler(t, interceptor.Funcs{}, there).createDue(t.Context(), cache, o, &out); err != nil || out.Created != "" || len(out.Events) > 0 {
		t.Errorf("%v, %+v", err, out)
	}
	fails := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}}
	if err := reconciler(t, fails).createDue(t.Context(), cache, o, &out); !errors.Is(err, errBroken) || out.Created != "" {
		t.Errorf("it cannot be read: %v, %+v", err, out)
	}
}

// TestReconcileFails holds that a part that fails does not keep the others from theirs, and
// that nothing is recorded of a snapshot that was not created.
func TestReconcileFails(t *testing.T) {
	cache, o := warmed()
	cache.Namespace = "n"
	cache.Spec.Snapshots.Retention.KeepLast = 1
	for i := range 3 {
		s := usable(of(fmt.Sprintf("ci-%d", i), "v1", metav1.ConditionTrue))
		s.Namespace, s.UID, s.Status.CreationTime = "n", "u", ptr.To(metav1.NewTime(now.Add(-time.Duration(i+1)*240*time.Hour)))
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
		o.Snapshots = append(o.Snapshots, s)
	}
	var objects []client.Object
	for i := range o.Snapshots {
		objects = append(objects, o.Snapshots[i].DeepCopy())
	}
	r := reconciler(t, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return errBroken
	}}, objects...)
	out, err := r.Reconcile(t.Context(), cache, o)
	if !errors.Is(err, errBroken) || out.Created != "" || cache.Status.SnapshottedRun != "" || len(out.Deleted) != 2 {
		t.Errorf("%v, %+v, recorded %q", err, out, cache.Status.SnapshottedRun)
	}
	lists := func(is func(client.ObjectList) bool) interceptor.Funcs {
		return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if is(list) {
				return errBroken
			}
			return c.List(ctx, list, opts...)
		}}
	}
	for name, is := range map[string]func(client.ObjectList) bool{
		"snapshots": func(l client.ObjectList) bool { _, is := l.(*v1alpha1.CacheSnapshotList); return is },
		"PVCs":      func(l client.ObjectList) bool { _, is := l.(*corev1.PersistentVolumeClaimList); return is },
	} {
		var out Result
		if err := reconciler(t, lists(is), objects...).deleteExpired(t.Context(), cache, o, &out); !errors.Is(err, errBroken) || len(out.Deleted) > 0 {
			t.Errorf("%s that cannot be read: %v, deleted %v", name, err, out.Deleted)
		}
	}
	cloned := o.Snapshots[1].DeepCopy()
	cloned.Annotations = map[string]string{v1alpha1.ClonedAtAnnotation: now.Format(time.RFC3339)}
	out = Result{}
	if err := reconciler(t, interceptor.Funcs{}, objects[0], cloned, objects[2]).deleteExpired(t.Context(), cache, o, &out); err != nil || !slices.Equal(out.Deleted, []string{"ci-2"}) || out.Wake == 0 {
		t.Errorf("one was cloned lately: %v, %+v", err, out)
	}
	if want := "[{Normal SnapshotDropped Retain Dropped CacheSnapshot ci-2 by the retention policy <nil>}]"; fmt.Sprint(out.Events) != want {
		t.Errorf("%v", out.Events)
	}
}

// TestRecord holds which snapshots the status names.
func TestRecord(t *testing.T) {
	cache, o := warmed()
	young := of("ci-2", "v1", metav1.ConditionUnknown)
	young.CreationTimestamp = metav1.NewTime(now)
	o.Snapshots = []v1alpha1.CacheSnapshot{usable(of("ci-1", "v1", metav1.ConditionTrue)), young}
	if Record(cache, o); cache.Status.LatestVerifiedSnapshot != "ci-1" || cache.Status.LatestSnapshot != "ci-2" {
		t.Errorf("verified %q, latest %q", cache.Status.LatestVerifiedSnapshot, cache.Status.LatestSnapshot)
	}
}

// TestRecordOfEachCause holds what is recorded of a snapshot, by what it was created for.
func TestRecordOfEachCause(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*v1alpha1.GoCache, *pass.Observed)
		run       string
		scheduled bool
		retries   int32
	}{
		"a warm-up": {func(_ *v1alpha1.GoCache, _ *pass.Observed) {}, "r1", false, 0},
		"a schedule": {func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Spec.Snapshots.AfterWarmUp, c.Spec.Snapshots.Schedule = new(false), v1alpha1.Schedule{Schedule: "* * * * *"}
			o.Schedules = pass.ParseSchedules(c)
		}, "", true, 0},
		"a failed snapshot": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.SnapshottedRun, c.Status.WarmUp.LastSuccessTime = "r1", ptr.To(metav1.NewTime(now.Add(-48*time.Hour)))
		}, "r1", false, 3},
		"a request": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.Request = &v1alpha1.RequestStatus{UID: "u", Action: v1alpha1.RequestSnapshot, Outcome: v1alpha1.RequestAccepted}
		}, "", false, 2},
	} {
		cache, o := warmed()
		cache.Status.SnapshotRetry = &v1alpha1.SnapshotRetryStatus{Count: 2, Time: metav1.NewTime(now.Add(-20 * time.Minute))}
		tt.change(cache, &o)
		got, next := due(cache, o)
		if got == nil {
			t.Errorf("%s: nothing is due before %s", name, next)
			continue
		}
		recordCreated(cache, o, *got)
		s := cache.Status
		retries := int32(0)
		if s.SnapshotRetry != nil {
			retries = s.SnapshotRetry.Count
		}
		if s.SnapshottedRun != tt.run || (s.LastScheduledSnapshot != nil) != tt.scheduled || retries != tt.retries || s.LatestSnapshot != got.Name {
			t.Errorf("%s: %+v, retries %d", name, s, retries)
		}
		if tt.retries == 3 && !s.SnapshotRetry.Time.Time.Equal(now) || tt.scheduled && !s.LastScheduledSnapshot.Time.Equal(now) {
			t.Errorf("%s: %+v", name, s)
		}
		if name == "a request" && s.Request.Message != "CacheSnapshot "+got.Name+" was made" {
			t.Errorf("%+v", s.Request)
		}
	}
}

// TestWorthAnother holds when another snapshot may turn out better than those that there
// are: not of a volume that is Corrupt, or may be.
func TestWorthAnother(t *testing.T) {
	checked := func(verdict v1alpha1.Verdict, volume string, began *time.Time) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) {
			c.Spec.Integrity = &v1alpha1.CacheIntegrity{}
			c.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: volume}
			c.Status.Integrity.Verdict = verdict
			if began != nil {
				c.Status.Integrity.StartTime = ptr.To(metav1.NewTime(*began))
			}
		}
	}
	failedAt := now.Add(-time.Minute)
	before, after := failedAt.Add(-time.Second), failedAt.Add(time.Second)
	for name, tt := range map[string]struct {
		corrupt bool
		change  func(*v1alpha1.GoCache)
		want    bool
	}{
		"none is Corrupt":               {false, func(*v1alpha1.GoCache) {}, true},
		"the volume is":                 {false, checked(v1alpha1.VerdictCorrupt, "v1", &after), false},
		"another volume was":            {false, checked(v1alpha1.VerdictCorrupt, "v0", &after), true},
		"one is Corrupt, no checks":     {true, func(*v1alpha1.GoCache) {}, true},
		"the volume is, too, no checks": {true, func(c *v1alpha1.GoCache) { checked(v1alpha1.VerdictCorrupt, "v1", &after)(c); c.Spec.Integrity = nil }, false},
		"not checked yet":               {true, func(c *v1alpha1.GoCache) { c.Spec.Integrity = &v1alpha1.CacheIntegrity{} }, false},
		"intact since":                  {true, checked(v1alpha1.VerdictIntact, "v1", &after), true},
		"intact at that time":           {true, checked(v1alpha1.VerdictIntact, "v1", &failedAt), true},
		"intact before":                 {true, checked(v1alpha1.VerdictIntact, "v1", &before), false},
		"another volume is intact":      {true, checked(v1alpha1.VerdictIntact, "v0", &after), false},
		"inconclusive":                  {true, checked(v1alpha1.VerdictInconclusive, "v1", &after), false},
		"at no time":                    {true, checked(v1alpha1.VerdictIntact, "v1", nil), false},
	} {
		cache, o := warmed()
		cache.Status.Storage.VolumeName = "v1"
		s := failed(of("ci-1", "v1", metav1.ConditionFalse), v1alpha1.VerdictInconclusive)
		if tt.corrupt {
			s = failed(of("ci-1", "v1", metav1.ConditionFalse), v1alpha1.VerdictCorrupt)
			s.Status.Conditions = nil
		}
		s.Status.CreationTime = ptr.To(metav1.NewTime(failedAt))
		o.Snapshots = []v1alpha1.CacheSnapshot{s}
		tt.change(cache)
		f := observation(cache, o)
		f.SuccessTime = now.Add(-time.Hour)
		c := content(o, f)
		if c.Corrupt != tt.corrupt || !c.FailedAt.Equal(failedAt) {
			t.Fatalf("%s: %+v", name, c)
		}
		if got := worthAnother(cache, c); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestOfPresent holds which snapshots make another one of the present volume needless.
func TestOfPresent(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*pass.Observed)
		want   bool
	}{
		"none": {func(*pass.Observed) {}, false},
		"one was tried": {func(o *pass.Observed) {
			o.Snapshots = append(o.Snapshots, failed(of(due0(t), "v1", metav1.ConditionFalse), v1alpha1.VerdictCorrupt))
		}, true},
		"one is on its way": {func(o *pass.Observed) { o.Snapshots = append(o.Snapshots, of("ci-2", "v1", metav1.ConditionUnknown)) }, true},
		"one whose source is not known": {func(o *pass.Observed) {
			s := of("ci-2", "v1", metav1.ConditionUnknown)
			s.Status.Source = nil
			o.Snapshots = append(o.Snapshots, s)
		}, true},
		"of the volume that goes": {func(o *pass.Observed) { o.Snapshots = append(o.Snapshots, of("ci-2", "v0", metav1.ConditionUnknown)) }, false},
		"there is no PVC": {func(o *pass.Observed) {
			o.Snapshots, o.PVC = append(o.Snapshots, of("ci-2", "v1", metav1.ConditionUnknown)), nil
		}, false},
		"it is being deleted": {func(o *pass.Observed) {
			s := of("ci-2", "v1", metav1.ConditionUnknown)
			s.DeletionTimestamp = &metav1.Time{Time: now}
			o.Snapshots = append(o.Snapshots, s)
		}, false},
	} {
		cache, o := replaced(96 * time.Hour)
		tt.change(&o)
		if got := ofPresent(cache, o); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// due0 is the name of the snapshot that is due of the present volume.
func due0(t *testing.T) string {
	t.Helper()
	cache, o := replaced(96 * time.Hour)
	due, _ := due(cache, o)
	if due == nil {
		t.Fatal("none is due")
	}
	return due.Name
}

// TestAvailable holds what the condition SnapshotAvailable has of each state of snapshots.
func TestAvailable(t *testing.T) {
	const pending, none = v1alpha1.ReasonSnapshotPending, v1alpha1.ReasonNoVerifiedSnapshot
	snapshots := func(all ...v1alpha1.CacheSnapshot) func(*v1alpha1.GoCache, *pass.Observed) {
		return func(_ *v1alpha1.GoCache, o *pass.Observed) { o.Snapshots = all }
	}
	offered := func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.LatestVerifiedSnapshot = "ci-1" }
	missing := func(_ *v1alpha1.GoCache, o *pass.Observed) { o.SnapshotAPIMissing = "it is not served" }
	off := func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Snapshots = nil }
	corrupt := failed(of("ci-1", "v1", metav1.ConditionFalse), v1alpha1.VerdictCorrupt)
	corrupt.Status.Conditions = nil
	verifying := of("ci-1", "v1", metav1.ConditionUnknown)
	verifying.Status.Conditions = append(verifying.Status.Conditions, metav1.Condition{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Message: "a Job runs"})
	for name, tt := range map[string]struct {
		changes []func(*v1alpha1.GoCache, *pass.Observed)
		reason  string
		want    string
	}{
		"one is offered":             {[]func(*v1alpha1.GoCache, *pass.Observed){offered}, v1alpha1.ReasonSnapshotAvailable, "New PVCs are populated from CacheSnapshot ci-1"},
		"no API":                     {[]func(*v1alpha1.GoCache, *pass.Observed){missing}, v1alpha1.ReasonSnapshotAPIMissing, "No snapshots: it is not served"},
		"no API, one is offered":     {[]func(*v1alpha1.GoCache, *pass.Observed){missing, offered, off}, v1alpha1.ReasonSnapshotAPIMissing, "No snapshots: it is not served"},
		"no API, and no policy":      {[]func(*v1alpha1.GoCache, *pass.Observed){missing, off}, v1alpha1.ReasonSnapshotsDisabled, "No snapshot is created: spec.snapshots.afterWarmUp is false, and there is no schedule. PVCs that name this cache wait until one is requested"},
		"one is verified":            {[]func(*v1alpha1.GoCache, *pass.Observed){snapshots(verifying)}, pending, "CacheSnapshot ci-1 is not verified yet: a Job runs"},
		"one is not reported":        {[]func(*v1alpha1.GoCache, *pass.Observed){snapshots(of("ci-1", "v1", metav1.ConditionUnknown))}, pending, "CacheSnapshot ci-1 is not verified yet"},
		"no policy, one is verified": {[]func(*v1alpha1.GoCache, *pass.Observed){off, snapshots(verifying)}, pending, "CacheSnapshot ci-1 is not verified yet: a Job runs"},
		"one failed": {[]func(*v1alpha1.GoCache, *pass.Observed){snapshots(failed(of("ci-1", "v1", metav1.ConditionFalse), v1alpha1.VerdictInconclusive)), func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.SnapshottedRun, c.Status.WarmUp.LastSuccessTime = "r1", ptr.To(metav1.NewTime(now.Add(-time.Hour)))
		}}, none, "CacheSnapshot ci-1 cannot be offered: it is broken; the next snapshot is created at 2026-11-28T12:04:00Z"},
		"one is Corrupt, and not checked": {[]func(*v1alpha1.GoCache, *pass.Observed){snapshots(corrupt), func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Spec.Integrity, c.Status.SnapshottedRun, c.Status.WarmUp.LastSuccessTime = &v1alpha1.CacheIntegrity{}, "r1", ptr.To(metav1.NewTime(now.Add(-time.Hour)))
		}}, none, "CacheSnapshot ci-1 is Corrupt; another one is created when a check has found the cache PVC Intact"},
		"never warmed": {[]func(*v1alpha1.GoCache, *pass.Observed){func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.WarmUp = v1alpha1.WarmUpStatus{} }}, pending, "No snapshot yet: the first one is created when a warm-up has succeeded"},
		"one is due":   {[]func(*v1alpha1.GoCache, *pass.Observed){func(*v1alpha1.GoCache, *pass.Observed) {}}, pending, "No verified snapshot; one is due"},
		"one is planned": {[]func(*v1alpha1.GoCache, *pass.Observed){func(c *v1alpha1.GoCache, o *pass.Observed) {
			c.Spec.Snapshots.AfterWarmUp, c.Spec.Snapshots.Schedule = new(false), v1alpha1.Schedule{Schedule: "30 12 * * *"}
			o.Schedules = pass.ParseSchedules(c)
			c.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
		}}, pending, "No verified snapshot; the next snapshot is created at 2026-11-28T12:30:00Z"},
	} {
		cache, o := warmed()
		for _, change := range tt.changes {
			change(cache, &o)
		}
		got := Available(cache, o)
		if got.Reason != tt.reason || got.Message != tt.want || (got.Status == metav1.ConditionTrue) != (tt.reason == v1alpha1.ReasonSnapshotAvailable) {
			t.Errorf("%s:\n got %s %s: %s\nwant %s: %s", name, got.Status, got.Reason, got.Message, tt.reason, tt.want)
		}
	}
}

// TestRestoredContent holds that a volume that was restored is not snapshotted again while
// the snapshot that it was made from is there.
func TestRestoredContent(t *testing.T) {
	cache, o := warmed()
	o.PVC.UID = "u2"
	cache.Status.Content = &v1alpha1.ContentStatus{Reason: v1alpha1.ReplacementRestore, VolumeName: "v1"}
	cache.Status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{CompletionTime: metav1.NewTime(now.Add(-time.Hour))}
	o.Snapshots = []v1alpha1.CacheSnapshot{usable(of("ci-1", "v0", metav1.ConditionTrue))}
	o.Snapshots[0].Status.CreationTime = ptr.To(metav1.NewTime(now.Add(-48 * time.Hour)))
	if f := observation(cache, o); f.SuccessRun != restored || f.SnapshottedRun != restored || !f.SuccessTime.Equal(now.Add(-time.Hour)) || f.Content == nil || !f.Content.Usable {
		t.Errorf("%+v, %+v", f, f.Content)
	}
	if due, _ := due(cache, o); due != nil {
		t.Errorf("due %+v", due)
	}
	o.Snapshots = nil
	if due, _ := due(cache, o); due == nil || !due.Replaces || !strings.HasSuffix(due.Name, "-1") {
		t.Errorf("its snapshot is gone: due %+v", due)
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded: what was
// not created is not recorded, and what was not deleted is not reported.
func TestEachFailure(t *testing.T) {
	given := func() (*v1alpha1.GoCache, pass.Observed) {
		cache, o := warmed()
		cache.Namespace, cache.UID, cache.Spec.Snapshots.Retention.KeepLast = "n", "u", 1
		for i := range 2 {
			s := usable(of(fmt.Sprintf("ci-%d", i), "v1", metav1.ConditionTrue))
			s.Namespace, s.UID, s.Status.CreationTime = "n", "u", ptr.To(metav1.NewTime(now.Add(-time.Duration(i+1)*240*time.Hour)))
			s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
			o.Snapshots = append(o.Snapshots, s)
		}
		return cache, o
	}
	calls := failing.Each(t, func() client.WithWatch {
		_, o := given()
		return reconciler(t, interceptor.Funcs{}, o.Snapshots[0].DeepCopy(), o.Snapshots[1].DeepCopy()).Client.(client.WithWatch)
	}, func(c client.Client) error {
		cache, o := given()
		out, err := (Reconciler{Client: c, Live: c, FieldOwner: "test"}).Reconcile(t.Context(), cache, o)
		if (out.Created != "") != (cache.Status.SnapshottedRun != "") || len(out.Events) != len(out.Deleted)+min(len(out.Created), 1) {
			t.Errorf("%v: created %q, deleted %v, recorded %q, events %v", err, out.Created, out.Deleted, cache.Status.SnapshottedRun, out.Events)
		}
		return err
	})
	if len(calls) < 4 {
		t.Errorf("calls %v", calls)
	}
}
