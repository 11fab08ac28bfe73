package cached

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// verified is a snapshot as all are that were verified, with names of its own.
func verified(i int) *v1alpha1.CacheSnapshot {
	uid := func(n int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", n, i) }
	at := metav1.NewTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	cache, namespace := fmt.Sprint("cache-", i/5), fmt.Sprint("team-", i/50)
	name := fmt.Sprint(cache, "-20261130-", i%5)
	condition := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: at, Reason: reason, Message: message}
	}
	const intact = "400 module versions and 25000 build entries are intact, checked in 41s"
	return &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid(0)), ResourceVersion: fmt.Sprint(i), Generation: 1, CreationTimestamp: at,
			Labels: map[string]string{v1alpha1.CacheLabel: cache, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}},
		Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: cache}, DeletionPolicy: "Delete"},
		Status: v1alpha1.CacheSnapshotStatus{
			ObservedGeneration: 1, StartTime: &at, CreationTime: &at, VolumeSnapshotName: name, VolumeSnapshotUID: uid(1), VerificationJobUID: uid(2),
			VolumeSnapshotContentName: "snapcontent-" + uid(1),
			Conditions:                []metav1.Condition{condition("SnapshotReady", "SnapshotCreated", "VolumeSnapshot "+name+" can be restored"), condition("Verified", "Intact", intact), condition("Ready", "Intact", intact)},
			Source:                    &v1alpha1.SourceRecord{UID: uid(3), PersistentVolumeClaimName: cache, VolumeName: "pvc-" + uid(4), Platform: "linux/amd64", ToolchainImage: "docker.io/library/golang:1.26.8", MountPath: "/gocache"},
			Verification:              v1alpha1.VerificationStatus{Run: uid(2), Attempts: 1, Verdict: v1alpha1.VerdictIntact, CompletionTime: &at, Digest: "sha256:" + strings.Repeat(uid(5)[:8], 8)},
			Stages:                    []v1alpha1.StageStatus{{Name: "Snapshot", StartTime: at, Duration: &metav1.Duration{Duration: time.Second}}, {Name: "Verify", StartTime: at, Duration: &metav1.Duration{Duration: time.Minute}}},
		},
	}
}

// decoded is an object as a cache gets it: with strings of its own.
func decoded(t *testing.T, i int) *v1alpha1.CacheSnapshot {
	t.Helper()
	text, err := json.Marshal(verified(i))
	if err != nil {
		t.Fatal(err)
	}
	s := &v1alpha1.CacheSnapshot{}
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShare holds that what objects have in common is in memory once, and that they are
// otherwise as they were.
func TestShare(t *testing.T) {
	one, other := decoded(t, 0), decoded(t, 1)
	all := texts{all: map[string]string{}}
	for i, s := range []*v1alpha1.CacheSnapshot{one, other} {
		all.share(s)
		if diff := cmp.Diff(decoded(t, i), s); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for name, of := range map[string]func(*v1alpha1.CacheSnapshot) string{
		"the namespace":    func(s *v1alpha1.CacheSnapshot) string { return s.Namespace },
		"a label":          func(s *v1alpha1.CacheSnapshot) string { return s.Labels[v1alpha1.CacheLabel] },
		"another type":     func(s *v1alpha1.CacheSnapshot) string { return string(s.Status.Conditions[2].Status) },
		"a list":           func(s *v1alpha1.CacheSnapshot) string { return s.Status.Conditions[1].Message },
		"behind a pointer": func(s *v1alpha1.CacheSnapshot) string { return s.Status.Source.PersistentVolumeClaimName },
	} {
		if a, b := of(one), of(other); a != b || unsafe.StringData(a) != unsafe.StringData(b) {
			t.Errorf("%s is twice in memory: %s, %s", name, a, b)
		}
	}
	if a, b := one.Labels[v1alpha1.CacheLabel], one.Spec.SourceRef.Name; unsafe.StringData(a) != unsafe.StringData(b) {
		t.Error("the name of the cache is twice in one object")
	}
	if n := cap(one.Status.Conditions); n != 3 {
		t.Errorf("there is room for %d conditions, and there are 3", n)
	}
	bytes := struct{ B []byte }{[]byte("abc")}
	all.share(&bytes)
	var none *v1alpha1.CacheSnapshot
	all.share(none)
	all.share(ptr.To(map[string]string{}))
	if string(bytes.B) != "abc" {
		t.Errorf("%s", bytes.B)
	}
}

// TestTexts holds how many strings are shared, and which.
func TestTexts(t *testing.T) {
	all := texts{all: map[string]string{}}
	for i := range maxTexts {
		all.one(fmt.Sprint(i))
	}
	if len(all.all) != maxTexts {
		t.Errorf("%d strings, want %d", len(all.all), maxTexts)
	}
	all.one("0")
	if len(all.all) != maxTexts {
		t.Errorf("%d strings after one that is there, want %d", len(all.all), maxTexts)
	}
	if got := all.one("another"); got != "another" || len(all.all) != 1 {
		t.Errorf("%s, and %d strings after one too many, want 1", got, len(all.all))
	}
	all.one("")
	all.one(strings.Repeat("x", maxText+1))
	if len(all.all) != 1 {
		t.Error("an empty or a long string is shared")
	}
	all.one(strings.Repeat("x", maxText))
	if len(all.all) != 2 {
		t.Error("a string of the greatest length is not shared")
	}
}

// TestMemoryOfASnapshot bounds what the cache holds for each verified snapshot, of which
// large clusters have 50,000.
func TestMemoryOfASnapshot(t *testing.T) {
	const n, limit = 10_000, 2600
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // less than 2^63
	}
	held := make([]any, n)
	before := live()
	for i := range held {
		trimmed, err := Trim(decoded(t, i))
		if err != nil {
			t.Fatal(err)
		}
		held[i] = trimmed
	}
	each := (live() - before) / n
	t.Logf("%d bytes for each", each)
	if each > limit {
		t.Errorf("%d bytes for each, want %d at most", each, limit)
	}
	runtime.KeepAlive(held)
}
