package integration

import (
	"fmt"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/sharing"
)

// borrowsContent: a user names the cache of another namespace, which is shared with a
// third one, in every way that there is; then it is shared with theirs, and they try
// to use the content that carries it for something else.
func borrowsContent(t *testing.T) {
	owner, friend, s := newStage(t), newStage(t), newStage(t, runner...)
	for _, stage := range []*stage{owner, friend, s} {
		stage.cluster.Contents = true
	}
	shareWith := func(namespaces ...string) *v1alpha1.CacheConsumers {
		return &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.SelectorRequirement{
			{Key: corev1.LabelMetadataName, Operator: "In", Values: namespaces}}}}
	}
	cache := owner.cache(func(c *v1alpha1.GoCache) { c.Spec.Consumers = shareWith(friend.ns) })
	owner.waitFor("the cache has its volume", func() error { return bound(owner, "ci") })
	good := owner.verified(owner.snapshot("good"))

	from := func(s *stage, name, source string) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{ObjectMeta: s.meta(name), Spec: v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: owner.ns, Name: source}}}
		s.create(s.attacker, c)
		return c
	}
	theirs, absent := from(s, "borrowed", "ci"), from(s, "none", "no-such-cache")
	pvc := s.consumer("data", v1alpha1.GoCacheKind, "borrowed")
	pinned := s.consumer("pinned", v1alpha1.CacheSnapshotKind, "good")
	s.reports(theirs, func() []metav1.Condition { return theirs.Status.Conditions }, "spec.consumers.namespaceSelector must match")
	s.reports(absent, func() []metav1.Condition { return absent.Status.Conditions }, "spec.consumers.namespaceSelector must match")
	for _, c := range []*v1alpha1.GoCache{theirs, absent} {
		stalled := apimeta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition)
		if stalled == nil || stalled.Reason != v1alpha1.ReasonNotShared || c.Status.Source != nil {
			t.Errorf("%s: Stalled is %+v, source %+v: it shows what exists in the other namespace", c.Name, stalled, c.Status.Source)
		}
	}

	// What only the operator may do, and what would select the namespace.
	forged := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "forged-" + s.ns},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: "test.csi.gocache.dev", DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain,
			Source:            snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: ptr.To(good.Status.SnapshotHandle)},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: s.ns, Name: "mine"},
		},
	}
	if err := s.attacker.Create(t.Context(), forged); !apierrors.IsForbidden(err) {
		t.Errorf("a user names a CSI handle: %v", err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.ns, Labels: map[string]string{"team": "friend"}}}
	if err := s.attacker.Update(t.Context(), ns); !apierrors.IsForbidden(err) {
		t.Errorf("an editor labels their namespace: %v", err)
	}
	if err := s.attacker.Get(t.Context(), client.ObjectKeyFromObject(cache), &v1alpha1.GoCache{}); !apierrors.IsForbidden(err) {
		t.Errorf("an editor reads another namespace: %v", err)
	}

	// The friend gets a clone meanwhile, so the attacker's PVCs had their time.
	from(friend, "shared", "ci")
	granted := friend.consumer("data", v1alpha1.GoCacheKind, "shared")
	friend.waitFor("the friend's PersistentVolumeClaim is filled", func() error { return bound(friend, granted.Name) })
	populatedFrom(friend, granted, owner.ns+"/good")
	if _, err := s.cluster.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.unbound(pvc)
	s.unbound(pinned)
	if n := contentsFor(t, s.ns); n != 0 {
		t.Errorf("%d contents were made for the attacker's namespace", n)
	}

	// Now it is shared with them. Another VolumeSnapshot names the content before it is there.
	if err := s.read(pvc); err != nil {
		t.Fatal(err)
	}
	mine := &snapshotv1.VolumeSnapshot{ObjectMeta: s.meta("mine"), Spec: snapshotv1.VolumeSnapshotSpec{
		Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: ptr.To(sharing.ContentName(pvc.UID))}}}
	s.create(s.attacker, mine)
	edit(owner, cache, func(c *v1alpha1.GoCache) { c.Spec.Consumers = shareWith(friend.ns, s.ns) })
	s.waitFor("the content for the attacker's namespace is there", func() error {
		if err := bound(s, pvc.Name); err == nil {
			return nil
		}
		var content snapshotv1.VolumeSnapshotContent
		if err := server.Client.Get(t.Context(), client.ObjectKey{Name: sharing.ContentName(pvc.UID)}, &content); err != nil {
			return err
		}
		if ref := content.Spec.VolumeSnapshotRef; ref.UID == "" || ref.Name == mine.Name {
			t.Fatalf("another VolumeSnapshot can be bound to it: %+v", ref)
		}
		return nil
	})
	s.waitFor("their PersistentVolumeClaim is filled", func() error { return bound(s, pvc.Name) })
	populatedFrom(s, pvc, owner.ns+"/good")
	if err := s.read(mine); err != nil {
		t.Fatal(err)
	}
	if mine.Status != nil && ptr.Deref(mine.Status.ReadyToUse, false) {
		t.Errorf("the attacker's VolumeSnapshot has the content: %+v", mine.Status)
	}

	// It is withdrawn: at once, for what comes after.
	edit(owner, cache, func(c *v1alpha1.GoCache) { c.Spec.Consumers = shareWith(friend.ns) })
	late := s.consumer("late", v1alpha1.GoCacheKind, "borrowed")
	s.reports(theirs, func() []metav1.Condition { return theirs.Status.Conditions }, "is not shared with namespace "+s.ns)
	again := friend.consumer("again", v1alpha1.GoCacheKind, "shared")
	friend.waitFor("the friend still gets clones", func() error { return bound(friend, again.Name) })
	s.unbound(late)
	for _, stage := range []*stage{s, friend} {
		stage.waitFor("nothing is left that carried the snapshot", func() error {
			if n := contentsFor(t, stage.ns); n != 0 {
				return fmt.Errorf("%d contents are", n)
			}
			return nil
		})
	}
	if err := owner.is(good, v1alpha1.VerifiedCondition, metav1.ConditionTrue); err != nil {
		t.Error(err)
	}
}

// populatedFrom holds which snapshot a PVC's volume is a clone of.
func populatedFrom(s *stage, pvc *corev1.PersistentVolumeClaim, want string) {
	s.Helper()
	if err := s.read(pvc); err != nil {
		s.Fatal(err)
	}
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName}}
	if err := s.read(pv); err != nil {
		s.Fatal(err)
	}
	if got := pv.Annotations[v1alpha1.PopulatedFromAnnotation]; got != want {
		s.Errorf("PersistentVolumeClaim %s is populated from %q, want %q", pvc.Name, got, want)
	}
}

// contentsFor counts the contents that carry snapshots into a namespace.
func contentsFor(t *testing.T, namespace string) int {
	t.Helper()
	all, err := sharing.Contents(t.Context(), server.Client)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range all {
		if all[i].Spec.VolumeSnapshotRef.Namespace == namespace {
			n++
		}
	}
	return n
}
