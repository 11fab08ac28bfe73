package pass

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/jobrun"
)

// TestReplacing holds that a cache PVC is not used while its volume is replaced by what
// was read, or by what is about to be written.
func TestReplacing(t *testing.T) {
	cache := func(replaced bool) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{}
		if replaced {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}
		return c
	}
	for _, now := range []bool{false, true} {
		for _, stored := range []bool{false, true} {
			if got := (Observed{Stored: cache(stored)}).Replacing(cache(now)); got != (now || stored) {
				t.Errorf("now %t, stored %t: %t", now, stored, got)
			}
		}
	}
}

// TestOfferedOfPrevious holds that a snapshot which nothing is known of is not taken for
// one of the volume that was replaced.
func TestOfferedOfPrevious(t *testing.T) {
	cache := &v1alpha1.GoCache{Status: v1alpha1.GoCacheStatus{LatestVerifiedSnapshot: "s"}}
	of := func(volume string) Observed {
		return Observed{Snapshots: []v1alpha1.CacheSnapshot{
			{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Status: v1alpha1.CacheSnapshotStatus{Source: &v1alpha1.SourceRecord{VolumeName: "v"}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Status: v1alpha1.CacheSnapshotStatus{Source: &v1alpha1.SourceRecord{VolumeName: volume}}},
		}}
	}
	previous := func(o Observed, volume string) Observed {
		o.Previous = &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{VolumeName: volume}}
		return o
	}
	unknown := previous(of("v"), "v")
	unknown.Snapshots[1].Status.Source = nil
	for name, tt := range map[string]struct {
		o    Observed
		want bool
	}{
		"of it":                     {previous(of("v"), "v"), true},
		"of another volume":         {previous(of("w"), "v"), false},
		"nothing was replaced":      {of("v"), false},
		"a PVC that had no volume":  {previous(of(""), ""), false},
		"its volume is not known":   {unknown, false},
		"it is not known any more":  {previous(Observed{}, "v"), false},
		"of the volume of another ": {previous(of("w"), "w"), true},
	} {
		if got := tt.o.OfferedOfPrevious(cache); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestRanOnPVC holds that a run on another PVC does not count for this one.
func TestRanOnPVC(t *testing.T) {
	run := func(uid string) jobrun.Outcome {
		return jobrun.Outcome{Annotations: map[string]string{v1alpha1.PVCUIDAnnotation: uid}}
	}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	for name, tt := range map[string]struct {
		o    Observed
		want bool
	}{
		"on it":         {Observed{PVC: pvc, Run: run("1")}, true},
		"on another":    {Observed{PVC: pvc, Run: run("2")}, false},
		"not recorded":  {Observed{PVC: pvc}, false},
		"there is none": {Observed{Run: run("")}, false},
	} {
		if got := tt.o.RanOnPVC(); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestRequests holds that only an accepted request for the action is acted on, and only
// once it is stored; and that its answer has a bounded message.
func TestRequests(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	status := func(action v1alpha1.RequestAction, outcome v1alpha1.RequestOutcome) *v1alpha1.RequestStatus {
		return &v1alpha1.RequestStatus{Name: "r", UID: "1", Action: action, Outcome: outcome}
	}
	of := func(r *v1alpha1.RequestStatus) *v1alpha1.GoCache {
		return &v1alpha1.GoCache{Status: v1alpha1.GoCacheStatus{Request: r}}
	}
	accepted := status(v1alpha1.RequestWarmUp, v1alpha1.RequestAccepted)
	for name, tt := range map[string]struct {
		now, stored         *v1alpha1.RequestStatus
		requested, standing bool
	}{
		"none":           {nil, nil, false, false},
		"accepted":       {accepted, accepted, true, true},
		"not stored yet": {accepted, nil, true, false},
		"another action": {status(v1alpha1.RequestSnapshot, v1alpha1.RequestAccepted), accepted, false, false},
		"answered":       {status(v1alpha1.RequestWarmUp, v1alpha1.RequestSucceeded), accepted, false, false},
	} {
		cache := of(tt.now)
		if r, got := Requested(cache, v1alpha1.RequestWarmUp); got != tt.requested || got && r.Name != "r" {
			t.Errorf("%s: requested %t, %+v", name, got, r)
		}
		if r, got := (Observed{Stored: of(tt.stored)}).Standing(cache, v1alpha1.RequestWarmUp); got != tt.standing || got && r.Name != "r" {
			t.Errorf("%s: standing %t, %+v", name, got, r)
		}
	}
	cache := of(accepted.DeepCopy())
	Answer(cache, now, v1alpha1.RequestFailed, "why\x1b")
	if r := cache.Status.Request; r.Outcome != v1alpha1.RequestFailed || r.Message != "why" || !r.Time.Time.Equal(now) || r.Name != "r" {
		t.Errorf("answered %+v", r)
	}
}

// TestCorrupt holds that a verdict is about the volume that it was made on, and when a
// corrupt one is replaced without a person.
func TestCorrupt(t *testing.T) {
	on := func(verdict v1alpha1.Verdict, volume string) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{Status: v1alpha1.GoCacheStatus{Integrity: &v1alpha1.IntegrityStatus{}}}
		c.Status.Integrity.Verdict, c.Status.Integrity.VolumeName = verdict, volume
		c.Status.Storage.VolumeName = "v"
		return c
	}
	for name, tt := range map[string]struct {
		cache *v1alpha1.GoCache
		want  bool
	}{
		"corrupt":                 {on(v1alpha1.VerdictCorrupt, "v"), true},
		"intact":                  {on(v1alpha1.VerdictIntact, "v"), false},
		"inconclusive":            {on(v1alpha1.VerdictInconclusive, "v"), false},
		"another one was corrupt": {on(v1alpha1.VerdictCorrupt, "w"), false},
		"never checked":           {&v1alpha1.GoCache{}, false},
	} {
		if got := Corrupt(tt.cache); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	declared := func(policy v1alpha1.CacheCorruptPolicy, verified string, replaced bool) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Integrity: &v1alpha1.CacheIntegrity{OnCorrupt: policy}}}
		c.Status.LatestVerifiedSnapshot = verified
		if replaced {
			c.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}
		return c
	}
	for name, tt := range map[string]struct {
		cache *v1alpha1.GoCache
		want  bool
	}{
		"declared":              {declared(v1alpha1.CacheRollback, "s", false), true},
		"to nothing":            {declared(v1alpha1.CacheRollback, "", false), false},
		"reported only":         {declared(v1alpha1.CacheReport, "s", false), false},
		"being replaced":        {declared(v1alpha1.CacheReport, "", true), true},
		"no policy":             {&v1alpha1.GoCache{Status: v1alpha1.GoCacheStatus{LatestVerifiedSnapshot: "s"}}, false},
		"no policy, no matter ": {&v1alpha1.GoCache{Status: v1alpha1.GoCacheStatus{VolumeReplacement: &v1alpha1.VolumeReplacementStatus{}}}, true},
	} {
		if got := RollsBack(tt.cache); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestKept holds that no snapshot is dropped that a volume is being made from.
func TestKept(t *testing.T) {
	o := Observed{}
	for _, name := range []string{"idle", "cloned", "replaces", "restored"} {
		o.Snapshots = append(o.Snapshots, v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}}})
	}
	restore := &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: "restored"}}
	cache := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Restore: restore}}
	cache.Status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "replaces"}
	protected := func() []string {
		var names []string
		for _, k := range o.Kept(cache, map[string]bool{"cloned": true}) {
			if k.Protected {
				names = append(names, k.Name)
			}
		}
		return slices.Sorted(slices.Values(names))
	}
	if got := protected(); !slices.Equal(got, []string{"cloned", "replaces", "restored"}) {
		t.Errorf("protected: %q", got)
	}
	if !RestorePending(cache) {
		t.Error("the restore is not pending")
	}
	cache.Status.LastHandledRestore = restore.DeepCopy()
	if got := protected(); RestorePending(cache) || !slices.Equal(got, []string{"cloned", "replaces"}) {
		t.Errorf("after the restore: %q", got)
	}
	cache.Spec.Restore = nil
	if RestorePending(cache) {
		t.Error("a restore that is no longer declared is pending")
	}
}

// TestEnvironment holds what the environment of builds is made from, and that nothing
// leads around the policy of a proxy.
func TestEnvironment(t *testing.T) {
	cache := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{
		Layers: []v1alpha1.CacheLayer{v1alpha1.LayerModules},
		Environment: v1alpha1.Environment{
			MountPath: "/gocache", ChecksumDatabase: "sum.example.com", Isolation: v1alpha1.IsolationStrict, Fallback: v1alpha1.FallbackDirect,
			ProxyRef: &v1alpha1.LocalReference{Name: "p"}, PrivateModules: &v1alpha1.PrivateModules{Patterns: []string{"a.example", "b.example"}},
		},
	}}
	o := Observed{Proxy: "http://p", ProxyPrivate: []string{"b.example", "c.example"}}
	want := goenv.Settings{
		MountPath: "/gocache", Modules: true, Proxy: "http://p", ManagedProxy: true, Fallback: "direct", Strict: true,
		PrivatePatterns: []string{"a.example", "b.example", "c.example"}, ChecksumDatabase: "sum.example.com",
	}
	if diff := cmp.Diff(want, o.Environment(cache)); diff != "" {
		t.Error(diff)
	}
	if got := cache.Spec.Environment.PrivateModules.Patterns; len(got) != 2 {
		t.Errorf("the spec has the patterns %q", got)
	}
	if diff := cmp.Diff(goenv.Settings{Build: true}, (Observed{}).Environment(&v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Layers: []v1alpha1.CacheLayer{v1alpha1.LayerBuild}}})); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		fallback string
		enforces bool
		want     string
		around   bool
	}{
		{"", false, "", false}, {"", true, "", false},
		{v1alpha1.FallbackNone, false, "", false}, {v1alpha1.FallbackNone, true, "", false},
		{v1alpha1.FallbackDirect, false, "direct", false}, {v1alpha1.FallbackDirect, true, "", true},
		{"https://a.example", false, "https://a.example", false}, {"https://a.example", true, "", true},
	} {
		cache.Spec.Environment.Fallback = tt.fallback
		o := Observed{ProxyEnforces: tt.enforces}
		if got, around := o.Environment(cache).Fallback, o.WalksAround(cache); got != tt.want || around != tt.around {
			t.Errorf("fallback %q beside a policy %t: %q, around it %t", tt.fallback, tt.enforces, got, around)
		}
	}
}

// TestFacts holds that facts and events are handed on as they were found.
func TestFacts(t *testing.T) {
	for status, f := range map[metav1.ConditionStatus]*Fact{metav1.ConditionTrue: True("R", "%d", 1), metav1.ConditionFalse: False("R", "%d", 1), metav1.ConditionUnknown: Unknown("R", "%d", 1)} {
		if f.Status != status || f.Reason != "R" || f.Message != "1" {
			t.Errorf("%s: %+v", status, f)
		}
	}
	when := time.Date(2026, 11, 28, 12, 0, 0, 0, time.FixedZone("", 3600))
	if got := At("the next one is created", when) + At("and none", time.Time{}); got != "; the next one is created at 2026-11-28T11:00:00Z" {
		t.Errorf("%q", got)
	}
	a, b := event.Normal("A", "Do", "a"), event.Normal("B", "Do", "b")
	r := Result{Events: []event.Event{a}}
	if r.Add(Result{Events: []event.Event{b}}); !slices.Equal(r.Events, []event.Event{a, b}) {
		t.Errorf("%+v", r.Events)
	}
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	if got := Labels(cache); !maps.Equal(got, map[string]string{v1alpha1.CacheLabel: "ci"}) {
		t.Errorf("labels %v", got)
	}
}
