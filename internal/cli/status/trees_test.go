package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func meta(name string, age time.Duration) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ci", Name: name, CreationTimestamp: ago(age)}
}

func of(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: strings.ToLower(reason), LastTransitionTime: ago(time.Hour)}
}

// clusterOf reads these objects, and fails where funcs does.
func clusterOf(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
}

// line is a node without its children, in one line.
func line(n Node) string {
	text := fmt.Sprintf("%s %s %s %s", n.Kind, n.Name, n.State, n.Level)
	if n.Since != nil {
		text += " " + now.Sub(n.Since.Time).String()
	}
	return text + ": " + n.Message
}

// TestConditioned holds which of its conditions decides how an object is shown.
func TestConditioned(t *testing.T) {
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	for name, tt := range map[string]struct {
		conditions []metav1.Condition
		deleted    bool
		want       string
	}{
		"nothing reported": {nil, false, "GoCache ci Pending Progress 2h0m0s: the operator has not reported yet"},
		"ready":            {[]metav1.Condition{of("Ready", yes, "A")}, false, "GoCache ci Ready OK 1h0m0s: a"},
		"ready, but":       {[]metav1.Condition{of("Warm", no, "B"), of("Ready", yes, "A"), of("Clean", metav1.ConditionUnknown, "C")}, false, "GoCache ci Ready Warning 1h0m0s: Warm is False: b; a"},
		"not ready":        {[]metav1.Condition{of("Ready", no, "A")}, false, "GoCache ci NotReady Warning 1h0m0s: a"},
		"unknown":          {[]metav1.Condition{of("Ready", metav1.ConditionUnknown, "A")}, false, "GoCache ci Pending Progress 2h0m0s: the operator has not reported yet"},
		"reconciling":      {[]metav1.Condition{of("Ready", no, "A"), of("Reconciling", yes, "B")}, false, "GoCache ci Reconciling Progress 1h0m0s: b"},
		"reconciled":       {[]metav1.Condition{of("Ready", no, "A"), of("Reconciling", no, "B")}, false, "GoCache ci NotReady Warning 1h0m0s: a"},
		"ready first":      {[]metav1.Condition{of("Ready", yes, "A"), of("Reconciling", yes, "B")}, false, "GoCache ci Ready OK 1h0m0s: a"},
		"suspended":        {[]metav1.Condition{of("Ready", yes, "A"), of("Suspended", yes, "B")}, false, "GoCache ci Suspended Warning 1h0m0s: b"},
		"stalled":          {[]metav1.Condition{of("Suspended", yes, "B"), of("Stalled", yes, "C")}, false, "GoCache ci Stalled Failure 1h0m0s: c"},
		"deleted":          {[]metav1.Condition{of("Stalled", yes, "C")}, true, "GoCache ci Terminating Progress 1m0s: "},
	} {
		c := &v1alpha1.GoCache{ObjectMeta: meta("ci", 2*time.Hour)}
		if tt.deleted {
			c.DeletionTimestamp = ptr.To(ago(time.Minute))
		}
		if got := line(conditioned(v1alpha1.GoCacheKind, c, tt.conditions)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestCachePVC holds how the PVC of a cache is shown: as it is, or as the cache reports it
// where it may not be read.
func TestCachePVC(t *testing.T) {
	claim := func(phase corev1.PersistentVolumeClaimPhase) []corev1.PersistentVolumeClaim {
		c := corev1.PersistentVolumeClaim{ObjectMeta: meta("ci", time.Hour)}
		c.Status.Phase = phase
		other, elsewhere := *c.DeepCopy(), *c.DeepCopy()
		other.Name, other.Status.Phase = "other", corev1.ClaimLost
		elsewhere.Namespace, elsewhere.Status.Phase = "elsewhere", corev1.ClaimLost
		return []corev1.PersistentVolumeClaim{other, c, elsewhere}
	}
	deleted := claim(corev1.ClaimBound)
	deleted[1].DeletionTimestamp = ptr.To(ago(0))
	full := v1alpha1.CacheStorageStatus{
		PersistentVolumeClaimName: "ci", VolumeName: "v", Capacity: ptr.To(resource.MustParse("5Gi")), UsedPercent: ptr.To[int32](40),
		Inodes: ptr.To[int64](9), InodesUsed: ptr.To[int64](4), AppliedClass: "fast",
	}
	for name, tt := range map[string]struct {
		claims []corev1.PersistentVolumeClaim
		status v1alpha1.CacheStorageStatus
		want   string
	}{
		"bound":            {claim(corev1.ClaimBound), full, "PVC ci Bound OK 1h0m0s: 5Gi, 40% used, 4 of 9 inodes used, class fast"},
		"pending":          {claim(corev1.ClaimPending), v1alpha1.CacheStorageStatus{}, "PVC ci Pending Progress 1h0m0s: "},
		"no phase":         {claim(""), v1alpha1.CacheStorageStatus{}, "PVC ci Pending Progress 1h0m0s: "},
		"lost":             {claim(corev1.ClaimLost), full, "PVC ci Lost Failure 1h0m0s: its PersistentVolume does not exist"},
		"deleted":          {deleted, full, "PVC ci Terminating Progress 1h0m0s: deleted once no pod uses it"},
		"not readable":     {nil, full, "PVC ci Bound OK: 5Gi, 40% used, 4 of 9 inodes used, class fast"},
		"without a volume": {nil, v1alpha1.CacheStorageStatus{PersistentVolumeClaimName: "ci"}, "PVC ci Unknown Progress: "},
		"not reported":     {nil, v1alpha1.CacheStorageStatus{VolumeName: "v"}, "PVC ci Unknown Progress: "},
		"of another name":  {claim(corev1.ClaimBound), v1alpha1.CacheStorageStatus{PersistentVolumeClaimName: "renamed", Inodes: ptr.To[int64](9)}, "PVC renamed Unknown Progress: "},
	} {
		c := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
		c.Status.Storage = tt.status
		if got := line((&objects{claims: tt.claims}).cachePVC(c)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestCacheTree holds what is shown below a cache: its PVC, its snapshots from the newest
// on with the PVCs that were populated from each, the PVCs that wait, and its requests.
func TestCacheTree(t *testing.T) {
	snapshot := func(name string, age time.Duration, of string) v1alpha1.CacheSnapshot {
		s := v1alpha1.CacheSnapshot{ObjectMeta: meta(name, age)}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: of}
		return s
	}
	claim := func(namespace, name, kind, source, volume string) corev1.PersistentVolumeClaim {
		c := corev1.PersistentVolumeClaim{ObjectMeta: meta(name, time.Hour)}
		c.Namespace = namespace
		c.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: kind, Name: source}
		c.Spec.VolumeName, c.Status.Phase = volume, corev1.ClaimBound
		return c
	}
	other := snapshot("elsewhere", time.Hour, "ci")
	other.Namespace = "elsewhere"
	all := &objects{
		snapshots: []v1alpha1.CacheSnapshot{snapshot("old", 3*time.Hour, "ci"), snapshot("new", time.Hour, "ci"), snapshot("another", time.Hour, "cd"), other},
		claims: []corev1.PersistentVolumeClaim{
			claim("ci", "of-cache", "GoCache", "ci", "v1"), claim("ci", "of-snapshot", "CacheSnapshot", "old", "v2"), claim("ci", "waits", "GoCache", "ci", ""),
			claim("ci", "snapshot-gone", "GoCache", "ci", "v3"), claim("ci", "of-another", "GoCache", "cd", "v1"), claim("elsewhere", "away", "GoCache", "ci", "v1"),
			claim("ci", "of-snapshot-by-volume", "CacheSnapshot", "gone", "v1"),
			{ObjectMeta: meta("plain", time.Hour)},
		},
		populated: map[string]string{"v1": "new", "v3": "deleted"},
	}
	c := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	c.Status.LatestVerifiedSnapshot = "new"
	c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRestore, Step: "WaitForIdle", Message: "waits"}
	top := all.cache(c)
	if want := "GoCache ci Pending Progress 1h0m0s: the operator has not reported yet; Restore of the volume, step WaitForIdle: waits"; line(top) != want || top.Namespace != "ci" {
		t.Errorf("%s", line(top))
	}
	var got []string
	for _, row := range (Report{Items: []Node{top}}).Rows() {
		got = append(got, row.Branch+row.Node.Kind+" "+row.Node.Name)
	}
	want := []string{
		"GoCache ci", "├─ PVC ci", "├─ CacheSnapshot new", "│  ├─ PVC of-cache", "│  └─ PVC of-snapshot-by-volume", "├─ CacheSnapshot old", "│  └─ PVC of-snapshot", "├─ PVC waits", "└─ PVC snapshot-gone",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if snapshot := top.Children[1]; !strings.HasSuffix(snapshot.Message, "source of new PVCs") || strings.HasSuffix(top.Children[2].Message, "source of new PVCs") {
		t.Errorf("%s", line(snapshot))
	}
	pending := claim("ci", "p", "GoCache", "ci", "")
	pending.Status.Phase = corev1.ClaimPending
	for _, tt := range []struct {
		claim corev1.PersistentVolumeClaim
		want  string
	}{
		{claim("ci", "p", "GoCache", "ci", ""), "PVC p Bound OK 1h0m0s: consumer"},
		{pending, "PVC p Pending Progress 1h0m0s: consumer: populated when its first pod is scheduled and the cache has a verified snapshot"},
	} {
		if got := line(consumer(&tt.claim)); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

// TestSharedCache holds how a cache is shown that is shared from another namespace.
func TestSharedCache(t *testing.T) {
	for name, tt := range map[string]struct {
		status *v1alpha1.CacheSourceStatus
		want   string
	}{
		"not available":      {nil, "GoCache infra/ci NotAvailable Failure: "},
		"without a snapshot": {&v1alpha1.CacheSourceStatus{}, "GoCache infra/ci Shared Progress: it offers no snapshot"},
		"with one":           {&v1alpha1.CacheSourceStatus{Snapshot: "s", Verdict: v1alpha1.VerdictIntact, CreationTime: ptr.To(ago(time.Hour))}, "GoCache infra/ci Shared OK 1h0m0s: CacheSnapshot s, Intact"},
	} {
		c := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
		c.Spec.Source = &v1alpha1.CacheSource{Namespace: "infra", Name: "ci"}
		c.Status.Source = tt.status
		if n := (&objects{}).cache(c); len(n.Children) != 1 || line(n.Children[0]) != tt.want {
			t.Errorf("%s: %+v, want %s", name, n.Children, tt.want)
		}
	}
}

// TestSnapshotMessage holds what is shown of a snapshot beside its state.
func TestSnapshotMessage(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.CacheSnapshot)
		want   string
	}{
		"intact": {func(s *v1alpha1.CacheSnapshot) {
			s.Status.Verification.Verdict, s.Status.Conditions = v1alpha1.VerdictIntact, []metav1.Condition{of("Ready", metav1.ConditionTrue, "A")}
		}, "CacheSnapshot s Intact OK 2h0m0s: "},
		"pinned, and proven": {func(s *v1alpha1.CacheSnapshot) {
			s.Spec.Pinned = true
			s.Status.Verification.TotalModules, s.Status.Verification.ProvenModules, s.Status.Verification.Counts.BuildEntries, s.Status.Verification.ProvenBuildEntries = 3, 2, 5, 4
		}, "CacheSnapshot s Pending Progress 2h0m0s: the operator has not reported yet; pinned; proven: 2 of 3 modules, 4 of 5 build entries"},
		"inconclusive": {func(s *v1alpha1.CacheSnapshot) {
			s.Status.Verification.Verdict, s.Status.Conditions = v1alpha1.VerdictInconclusive, []metav1.Condition{of("Ready", metav1.ConditionFalse, "A")}
		}, "CacheSnapshot s Inconclusive Warning 2h0m0s: a"},
		"not verified": {func(s *v1alpha1.CacheSnapshot) {
			s.Status.Conditions = []metav1.Condition{of("Ready", metav1.ConditionFalse, "Queued")}
		}, "CacheSnapshot s Queued Warning 2h0m0s: queued"},
	} {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: meta("s", 2*time.Hour)}
		tt.change(s)
		if got := line((&objects{}).snapshot(s, false)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := provenOf(v1alpha1.VerificationStatus{TotalModules: 1}); got != "proven: 0 of 1 modules" {
		t.Error(got)
	}
	if got := provenOf(v1alpha1.VerificationStatus{Counts: v1alpha1.VerifiedCounts{BuildEntries: 1}}); got != "proven: 0 of 1 build entries" {
		t.Error(got)
	}
	if got := provenOf(v1alpha1.VerificationStatus{}); got != "" {
		t.Error(got)
	}
}

// TestInstance holds how an instance of a proxy is shown.
func TestInstance(t *testing.T) {
	for name, tt := range map[string]struct {
		status v1alpha1.InstanceStatus
		want   string
	}{
		"standby":        {v1alpha1.InstanceStatus{Healthy: true, HealthySince: ptr.To(ago(time.Hour))}, "Instance blue Standby OK 1h0m0s: weight 0"},
		"serving":        {v1alpha1.InstanceStatus{Healthy: true, Serving: true, DesiredWeight: 100, ObservedWeight: 100}, "Instance blue Serving OK: weight 100"},
		"changing":       {v1alpha1.InstanceStatus{Healthy: true, Serving: true, DesiredWeight: 100, ObservedWeight: 50}, "Instance blue Serving OK: weight 50, to become 100"},
		"out of service": {v1alpha1.InstanceStatus{Healthy: true, OutOfService: true, Serving: true}, "Instance blue OutOfService Progress: weight 0"},
		"unhealthy":      {v1alpha1.InstanceStatus{HealthySince: ptr.To(ago(time.Hour))}, "Instance blue Unhealthy Warning: weight 0"},
		"failing": {v1alpha1.InstanceStatus{FailingProbes: []v1alpha1.FailingProbe{{Kind: v1alpha1.ProbeReady, Message: "no answer", Since: ago(time.Minute)}}},
			"Instance blue Unhealthy Warning 1m0s: probe Ready: no answer; weight 0"},
		"quarantined": {v1alpha1.InstanceStatus{Quarantined: &v1alpha1.Quarantine{Reason: "ChecksumMismatch", Message: "differs", Time: ago(time.Minute)}},
			"Instance blue Quarantined Failure 1m0s: ChecksumMismatch: differs; weight 0"},
		"checked, and rolled back": {v1alpha1.InstanceStatus{Healthy: true, StoreCheck: &v1alpha1.StoreCheckStatus{Verdict: v1alpha1.VerdictIntact}, DiskUsedPercent: ptr.To[int32](7), Rollback: &v1alpha1.StoreRollbackStatus{Message: "waits"}},
			"Instance blue Standby OK: weight 0; store Intact; 7% used; rollback: waits"},
		"rolled back before": {v1alpha1.InstanceStatus{Healthy: true, Rollback: &v1alpha1.StoreRollbackStatus{Message: "waits", CompletionTime: ptr.To(ago(0))}}, "Instance blue Standby OK: weight 0"},
	} {
		tt.status.Name = "blue"
		p := &v1alpha1.ModProxy{ObjectMeta: meta("goproxy", time.Hour)}
		p.Status.Instances, p.Status.PinnedInstance = []v1alpha1.InstanceStatus{tt.status}, "blue"
		s := v1alpha1.CacheSnapshot{ObjectMeta: meta("s", time.Hour)}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: "goproxy", Instance: "blue"}
		n := (&objects{snapshots: []v1alpha1.CacheSnapshot{s}}).proxy(p)
		if len(n.Children) != 1 || line(n.Children[0]) != tt.want || len(n.Children[0].Children) != 1 {
			t.Errorf("%s: %s, want %s", name, line(n.Children[0]), tt.want)
		}
		if n.Namespace != "ci" || !strings.HasSuffix(n.Message, "; instance blue serves alone by a failover request") {
			t.Errorf("%s: %s", name, line(n))
		}
	}
	if n := (&objects{}).proxy(&v1alpha1.ModProxy{ObjectMeta: meta("goproxy", time.Hour)}); strings.Contains(n.Message, "serves alone") {
		t.Errorf("%s", line(n))
	}
}

// TestRequests holds which requests of an object are shown, in which order and state.
func TestRequests(t *testing.T) {
	request := func(name string, age time.Duration, outcome v1alpha1.RequestOutcome, finished time.Duration) v1alpha1.CacheRequest {
		r := v1alpha1.CacheRequest{ObjectMeta: meta(name, age)}
		r.Spec = v1alpha1.CacheRequestSpec{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestWarmUp}
		r.Status.Outcome = outcome
		if finished > 0 {
			r.Status.CompletionTime = ptr.To(ago(finished))
		}
		return r
	}
	argued := request("argued", 2*time.Minute, v1alpha1.RequestAccepted, 0)
	argued.Spec.Action, argued.Spec.Argument, argued.Status.Message = v1alpha1.RequestRollback, "s", "it waits"
	ofAnother, ofProxy, elsewhere := request("of-another", 0, "", 0), request("of-proxy", 0, "", 0), request("elsewhere", 0, "", 0)
	ofAnother.Spec.TargetRef.Name, ofProxy.Spec.TargetRef.Kind, elsewhere.Namespace = "cd", v1alpha1.ModProxyKind, "elsewhere"
	report := request("report", time.Hour, v1alpha1.RequestSucceeded, time.Hour)
	report.Spec.Action, report.Spec.Build = v1alpha1.RequestReportBuild, &v1alpha1.BuildReport{Hits: 3, Misses: 1}
	refused := report
	refused.Name, refused.Status.Outcome = "refused-report", v1alpha1.RequestRefused
	all := &objects{requests: []v1alpha1.CacheRequest{
		request("young", time.Minute, "", 0), request("old", time.Hour, v1alpha1.RequestWaiting, 0), argued,
		request("f3", time.Hour, v1alpha1.RequestSucceeded, 30*time.Minute), request("f1", time.Hour, v1alpha1.RequestFailed, 10*time.Minute),
		request("f2", time.Hour, v1alpha1.RequestRefused, 20*time.Minute), request("f4", time.Hour, v1alpha1.RequestSucceeded, 40*time.Minute),
		ofAnother, ofProxy, elsewhere, report,
	}}
	var got []string
	for _, n := range all.requestsFor("ci", v1alpha1.GoCacheKind, "ci") {
		got = append(got, line(n))
	}
	want := []string{
		"CacheRequest old Waiting Progress 1h0m0s: WarmUp", "CacheRequest argued Accepted Progress 2m0s: Rollback s: it waits", "CacheRequest young Waiting Progress 1m0s: WarmUp",
		"CacheRequest f1 Failed Warning 10m0s: WarmUp", "CacheRequest f2 Refused Warning 20m0s: WarmUp", "CacheRequest f3 Succeeded OK 30m0s: WarmUp",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	all.requests = []v1alpha1.CacheRequest{refused}
	if got := all.requestsFor("ci", v1alpha1.GoCacheKind, "ci"); len(got) != 1 {
		t.Errorf("a report that was refused is not shown")
	}
	all.requests = []v1alpha1.CacheRequest{report}
	c := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	if got := all.reportedFor(c); len(got) != 1 || line(got[0]) != "Build unnamed Reported OK 1h0m0s: consumers report 75% from the cache in 1 builds, 3 of 4 in the last one" {
		t.Errorf("%+v", got)
	}
}

// TestWorst holds the most urgent level of a report, whatever it is below.
func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		levels []Level
		want   Level
	}{{nil, LevelOK}, {[]Level{LevelOK, LevelProgress}, LevelProgress}, {[]Level{LevelFailure, LevelWarning}, LevelFailure}, {[]Level{LevelProgress, LevelWarning, LevelOK}, LevelWarning}} {
		var top Node
		top.Level = LevelOK
		for _, l := range tt.levels {
			top.Children = append(top.Children, Node{Level: l})
		}
		if got := (Report{Items: []Node{top}}).Worst(); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.levels, got, tt.want)
		}
	}
}

// TestRead holds what is read, in which order it is shown, and what is left out with a note.
func TestRead(t *testing.T) {
	in := func(namespace, name string, o client.Object) client.Object {
		o.SetNamespace(namespace)
		o.SetName(name)
		return o
	}
	consumer := &corev1.PersistentVolumeClaim{ObjectMeta: meta("consumer", time.Hour)}
	consumer.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: v1alpha1.GoCacheKind, Name: "ci"}
	consumer.Spec.VolumeName = "v1"
	second := consumer.DeepCopy()
	second.Name, second.Spec.VolumeName = "second", "gone"
	objects := []client.Object{
		in("ci", "ci", &v1alpha1.GoCache{}), in("ci", "b", &v1alpha1.GoCache{}), in("ci", "a", &v1alpha1.ModProxy{}), in("a", "z", &v1alpha1.GoCache{}), consumer, second,
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v1", Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: "s"}}},
		&v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "s"}, Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}}},
	}
	shown := func(o Options, funcs interceptor.Funcs) (string, []string, error) {
		report, err := Read(t.Context(), clusterOf(t, funcs, objects...), o)
		var names []string
		for _, row := range report.Rows() {
			if row.Node.Kind != "PVC" || row.Node.Name == "consumer" {
				names = append(names, row.Node.Namespace+"/"+row.Node.Name)
			}
		}
		return strings.Join(names, " "), report.Notes, err
	}
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{}, "a/z ci/b ci/ci /s /consumer ci/a"}, {Options{Namespace: "ci"}, "ci/b ci/ci /s /consumer ci/a"},
		{Options{Namespace: "ci", Kind: v1alpha1.GoCacheKind, Name: "ci"}, "ci/ci /s /consumer"}, {Options{Namespace: "ci", Kind: v1alpha1.ModProxyKind, Name: "a"}, "ci/a"},
	} {
		if got, notes, err := shown(tt.options, interceptor.Funcs{}); err != nil || got != tt.want || len(notes) > 0 {
			t.Errorf("%+v: %q, %v, %v, want %q", tt.options, got, notes, err, tt.want)
		}
	}
	failing := func(err error, is func(any) bool) interceptor.Funcs {
		return interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if is(o) {
					return err
				}
				return c.Get(ctx, key, o, opts...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if is(list) {
					return err
				}
				return c.List(ctx, list, opts...)
			},
		}
	}
	forbidden, broken := apierrors.NewForbidden(schema.GroupResource{}, "", nil), errors.New("the server is down")
	missing := &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "GoCache"}}
	for name, tt := range map[string]struct {
		is   func(any) bool
		note string // empty: it cannot be left out
	}{
		"CacheSnapshots":    {func(o any) bool { _, is := o.(*v1alpha1.CacheSnapshotList); return is }, "CacheSnapshots are not shown: you may not list them"},
		"CacheRequests":     {func(o any) bool { _, is := o.(*v1alpha1.CacheRequestList); return is }, "CacheRequests are not shown: you may not list them"},
		"PVCs":              {func(o any) bool { _, is := o.(*corev1.PersistentVolumeClaimList); return is }, "PersistentVolumeClaims are not shown: you may not list them"},
		"PersistentVolumes": {func(o any) bool { _, is := o.(*corev1.PersistentVolume); return is }, "the snapshot of each consumer's PVC is not shown: you may not get PersistentVolumes"},
		"GoCaches":          {func(o any) bool { _, is := o.(*v1alpha1.GoCacheList); return is }, ""},
		"ModProxies":        {func(o any) bool { _, is := o.(*v1alpha1.ModProxyList); return is }, ""},
	} {
		_, notes, err := shown(Options{Namespace: "ci"}, failing(forbidden, tt.is))
		if (err != nil) != (tt.note == "") || tt.note != "" && !slices.Equal(notes, []string{tt.note}) {
			t.Errorf("%s that may not be read: %q, %v", name, notes, err)
		}
		if _, _, err := shown(Options{Namespace: "ci"}, failing(broken, tt.is)); !errors.Is(err, broken) {
			t.Errorf("%s that cannot be read: %v", name, err)
		}
		if tt.note == "" {
			if _, _, err := shown(Options{Namespace: "ci"}, failing(missing, tt.is)); err == nil || !strings.Contains(err.Error(), "install the operator") {
				t.Errorf("%s that are not served: %v", name, err)
			}
		}
	}
	for _, o := range []Options{{Namespace: "ci", Name: "gone"}, {Namespace: "ci", Kind: v1alpha1.ModProxyKind, Name: "gone"}} {
		if _, _, err := shown(o, interceptor.Funcs{}); !apierrors.IsNotFound(err) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestConsumes holds which PVCs are populated from a cache or a snapshot of their namespace.
func TestConsumes(t *testing.T) {
	group := v1alpha1.GroupName
	for name, tt := range map[string]struct {
		ref  *corev1.TypedObjectReference
		want bool
	}{
		"a cache":                {&corev1.TypedObjectReference{APIGroup: &group, Kind: "GoCache", Name: "ci"}, true},
		"of its own namespace":   {&corev1.TypedObjectReference{APIGroup: &group, Kind: "GoCache", Name: "ci", Namespace: ptr.To("ci")}, true},
		"of another namespace":   {&corev1.TypedObjectReference{APIGroup: &group, Kind: "GoCache", Name: "ci", Namespace: ptr.To("infra")}, false},
		"nothing":                {nil, false},
		"without a group":        {&corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "ci"}, false},
		"an object of elsewhere": {&corev1.TypedObjectReference{APIGroup: ptr.To("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "ci"}, false},
	} {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("p", 0), Spec: corev1.PersistentVolumeClaimSpec{DataSourceRef: tt.ref}}
		if got := consumes(claim) != nil; got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
