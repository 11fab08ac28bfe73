package volume

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/snapshot"
)

// csi is a VolumeSnapshot that is ready to use.
func csi(changes ...func(*snapshotv1.VolumeSnapshot)) *snapshotv1.VolumeSnapshot {
	s := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", UID: "s-uid"},
		Status: &snapshotv1.VolumeSnapshotStatus{
			ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("content"), RestoreSize: ptr.To(resource.MustParse("5Gi")),
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func content(handle string, changes ...func(*corev1.ObjectReference)) *snapshotv1.VolumeSnapshotContent {
	c := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "content"}, Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: &handle},
		Spec: snapshotv1.VolumeSnapshotContentSpec{VolumeSnapshotRef: corev1.ObjectReference{Namespace: "n", Name: "s", UID: "s-uid"}},
	}
	for _, change := range changes {
		change(&c.Spec.VolumeSnapshotRef)
	}
	return c
}

// pinned is a CacheSnapshot that was verified as csi with a content.
func pinned(content *snapshotv1.VolumeSnapshotContent) *v1alpha1.CacheSnapshot {
	of := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-1"}}
	Pin(&of.Status, csi(), content)
	return of
}

// TestState holds that nothing is made of a VolumeSnapshot but of the one that was
// verified, whatever another client has put in its place.
func TestState(t *testing.T) {
	verified := pinned(content("h"))
	if s := verified.Status; s.VolumeSnapshotName != "s" || s.VolumeSnapshotUID != "s-uid" || s.VolumeSnapshotContentName != "content" ||
		s.SnapshotHandle != "h" || s.RestoreSize.String() != "5Gi" {
		t.Fatalf("pinned: %+v", s)
	}
	deleted := func(s *snapshotv1.VolumeSnapshot) {
		s.DeletionTimestamp, s.Finalizers = &metav1.Time{Time: now}, []string{"a.test/b"}
	}
	for name, tt := range map[string]struct {
		of      *v1alpha1.CacheSnapshot
		s       *snapshotv1.VolumeSnapshot
		content *snapshotv1.VolumeSnapshotContent
		want    snapshot.CSI
	}{
		"the same":                    {verified, csi(), nil, snapshot.CSIReady},
		"the same, with its content":  {verified, csi(), content("h"), snapshot.CSIReady},
		"none":                        {verified, nil, nil, snapshot.CSIGone},
		"being deleted":               {verified, csi(deleted), nil, snapshot.CSIGone},
		"another name":                {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.Name = "t" }), nil, snapshot.CSIReplaced},
		"another object of the name":  {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.UID = "t" }), nil, snapshot.CSIReplaced},
		"another one, being deleted":  {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.UID = "t" }, deleted), nil, snapshot.CSIReplaced},
		"another content":             {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.Status.BoundVolumeSnapshotContentName = ptr.To("t") }), nil, snapshot.CSIReplaced},
		"no content":                  {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.Status.BoundVolumeSnapshotContentName = nil }), nil, snapshot.CSIReplaced},
		"no status":                   {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.Status = nil }), nil, snapshot.CSIReplaced},
		"content of another snapshot": {verified, csi(), content("t"), snapshot.CSIReplaced},
		"content of another namespace": {
			verified, csi(), content("h", func(r *corev1.ObjectReference) { r.Namespace = "other" }), snapshot.CSIReplaced,
		},
		"content of another name":   {verified, csi(), content("h", func(r *corev1.ObjectReference) { r.Name = "t" }), snapshot.CSIReplaced},
		"content of another object": {verified, csi(), content("h", func(r *corev1.ObjectReference) { r.UID = "t" }), snapshot.CSIReplaced},
		"content for the name":      {verified, csi(), content("h", func(r *corev1.ObjectReference) { r.UID = "" }), snapshot.CSIReady},
		"content without a handle":  {verified, csi(), &snapshotv1.VolumeSnapshotContent{}, snapshot.CSIReplaced},
		"pinned without a handle":   {pinned(nil), csi(), content("h"), snapshot.CSIReplaced},
		"not ready":                 {verified, csi(func(s *snapshotv1.VolumeSnapshot) { s.Status.ReadyToUse = ptr.To(false) }), nil, snapshot.CSINotReady},
	} {
		if got := State(tt.of, tt.s, tt.content); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}

	unnamed := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n"}}
	for name, tt := range map[string]struct {
		of   *v1alpha1.CacheSnapshot
		c    client.Reader
		want snapshot.CSI
		err  error
	}{
		"none":                {nil, broken(t, errBroken), snapshot.CSINotRead, nil},
		"not created yet":     {unnamed, broken(t, errBroken), snapshot.CSINotRead, nil},
		"it exists":           {verified, builder(t, csi()).Build(), snapshot.CSIReady, nil},
		"it does not exist":   {verified, builder(t).Build(), snapshot.CSIGone, nil},
		"it cannot be read":   {verified, broken(t, errBroken), snapshot.CSINotRead, errBroken},
		"it is elsewhere too": {verified, builder(t, csi(func(s *snapshotv1.VolumeSnapshot) { s.Namespace = "other" })).Build(), snapshot.CSIGone, nil},
	} {
		if got, err := StateOf(t.Context(), tt.c, tt.of); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, tt.want, tt.err)
		}
	}
}

// TestContent holds which content is read, and that without one nothing is.
func TestContent(t *testing.T) {
	live := builder(t, content("h")).Build()
	if got, err := Content(t.Context(), live, csi()); err != nil || Handle(got) != "h" {
		t.Errorf("%v, %v", got, err)
	}
	for name, s := range map[string]*snapshotv1.VolumeSnapshot{"no snapshot": nil, "no status": csi(func(s *snapshotv1.VolumeSnapshot) { s.Status = nil })} {
		if got, err := Content(t.Context(), broken(t, errBroken), s); got != nil || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := Content(t.Context(), broken(t, errBroken), csi()); !errors.Is(err, errBroken) {
		t.Errorf("unreadable: %v", err)
	}
	for name, c := range map[string]*snapshotv1.VolumeSnapshotContent{"no content": nil, "no status": {}, "no handle": {Status: &snapshotv1.VolumeSnapshotContentStatus{}}} {
		if got := Handle(c); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestNoteClone holds that a clone is noted once in a while, on the object alone, and
// that one which is gone needs no note.
func TestNoteClone(t *testing.T) {
	of := pinned(nil)
	c := builder(t, of).Build()
	read := func() *v1alpha1.CacheSnapshot { return get[v1alpha1.CacheSnapshot](t, c, "n", "ci-1") }
	note := func(at time.Time) string {
		t.Helper()
		if err := NoteClone(t.Context(), c, read(), at, "test"); err != nil {
			t.Fatal(err)
		}
		return read().Annotations[v1alpha1.ClonedAtAnnotation]
	}
	first := now.UTC().Format(time.RFC3339)
	if got := note(now); got != first {
		t.Errorf("noted %q, want %q", got, first)
	}
	if got := note(now.Add(time.Second)); got != first {
		t.Errorf("a second later it was noted again: %q", got)
	}
	if got, later := note(now.Add(30*24*time.Hour)), now.Add(30*24*time.Hour).UTC().Format(time.RFC3339); got != later {
		t.Errorf("noted %q, want %q", got, later)
	}
	if err := NoteClone(t.Context(), broken(t, errBroken), nil, now, "test"); err != nil {
		t.Errorf("none: %v", err)
	}
	gone := of.DeepCopy()
	gone.Name = "gone"
	if err := NoteClone(t.Context(), c, gone, now, "test"); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
	if err := NoteClone(t.Context(), broken(t, errBroken), of, now, "test"); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "CacheSnapshot n/ci-1") {
		t.Errorf("a note that cannot be written: %v", err)
	}
}

// TestBoundTo holds that a PVC which only asks for a volume has none.
func TestBoundTo(t *testing.T) {
	on := func(phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		return pvc("c", func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = "v", phase })
	}
	deleting := on(corev1.ClaimBound)
	deleting.DeletionTimestamp = &metav1.Time{Time: now}
	for name, tt := range map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  string
	}{"none": {nil, ""}, "bound": {on(corev1.ClaimBound), "v"}, "bound and being deleted": {deleting, "v"}, "pending": {on(corev1.ClaimPending), ""}, "lost": {on(corev1.ClaimLost), ""}} {
		if got := BoundTo(tt.claim); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestNotExpandable holds what keeps a PVC from growing, and that nothing is read
// where it does not have to grow.
func TestNotExpandable(t *testing.T) {
	claim := func(class string) *corev1.PersistentVolumeClaim {
		return pvc("c", func(c *corev1.PersistentVolumeClaim) {
			c.Status.Phase = corev1.ClaimBound
			c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			if class != "" {
				c.Spec.StorageClassName = &class
			}
		})
	}
	class := func(name string, expands *bool) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, AllowVolumeExpansion: expands}
	}
	live := fake.NewClientBuilder().WithObjects(class("grows", ptr.To(true)), class("stays", ptr.To(false)), class("silent", nil)).Build()
	pending := claim("stays")
	pending.Status.Phase = corev1.ClaimPending
	for name, tt := range map[string]struct {
		claim *corev1.PersistentVolumeClaim
		size  string
		want  string // a part; empty: nothing
	}{
		"it grows":                 {claim("grows"), "2Gi", ""},
		"it does not grow":         {claim("stays"), "2Gi", "PVC c cannot grow from 1Gi to 2Gi: its StorageClass stays does not allow it. If the driver can expand volumes: kubectl patch storageclass stays"},
		"the class does not state": {claim("silent"), "2Gi", "its StorageClass silent does not allow it"},
		"no class":                 {claim(""), "2Gi", "it has no StorageClass, and only a class can allow that"},
		"a class that is gone":     {claim("gone"), "2Gi", "its StorageClass gone does not exist"},
		"as large as it is":        {claim("stays"), "1Gi", ""},
		"smaller":                  {claim("stays"), "512Mi", ""},
		"without a volume":         {pending, "2Gi", ""},
	} {
		got, err := NotExpandable(t.Context(), live, tt.claim, resource.MustParse(tt.size))
		if err != nil || !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
	if got, err := NotExpandable(t.Context(), broken(t, errBroken), claim("grows"), resource.MustParse("2Gi")); got != "" || !errors.Is(err, errBroken) {
		t.Errorf("a class that cannot be read: %q, %v", got, err)
	}
}

// TestBeingCloned holds which snapshots are being cloned: what a user writes on a PVC
// without the label, or longer than any name, is none.
func TestBeingCloned(t *testing.T) {
	from := func(name, namespace, source string, label bool) *corev1.PersistentVolumeClaim {
		return pvc(name, func(c *corev1.PersistentVolumeClaim) {
			c.Namespace, c.Annotations = namespace, map[string]string{v1alpha1.PopulatedFromAnnotation: source}
			if label {
				c.Labels = map[string]string{IntermediateLabel: string(types.UID("u"))}
			}
		})
	}
	longest := strings.Repeat("n", 64) + strings.Repeat("s", 253)
	live := builder(t, from("a", "n", "ci-1", true), from("b", "n", "ci-2", true), from("c", "n", "ci-1", true), from("d", "n", "users", false),
		from("e", "other", "ci-3", true), from("f", "n", longest, true), from("g", "n", longest+"s", true)).Build()
	want := map[string]bool{"ci-1": true, "ci-2": true, longest: true}
	if got, err := BeingCloned(t.Context(), live, "n"); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	if _, err := BeingCloned(t.Context(), broken(t, errBroken), "n"); !errors.Is(err, errBroken) {
		t.Errorf("a list that fails: %v", err)
	}
}
