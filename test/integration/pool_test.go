package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
)

const zoneLabel = "topology.kubernetes.io/zone"

// TestPoolInOneNamespace has the operator, with the rights of config/namespaced and no
// others, keep a pool of volumes that not every node can reach. A runner is there first,
// with a PVC that passes for one of the pool by all that users can write. Without the
// right to read nodes, PVCs get clones, and their events name the right.
func TestPoolInOneNamespace(t *testing.T) {
	installPolicies(t)
	s := newStage(t, runner...)
	late, node := s.lateClass(), s.node("near")
	s.cluster.Affinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zoneLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{s.ns}}}}}}}
	logs := managerOf(t, installNamespaced(t, s.ns))

	c := s.cache(func(c *v1alpha1.GoCache) {
		c.Spec.Suspend, c.Spec.Storage.StorageClassName, c.Spec.Pool = true, &late, &v1alpha1.CachePool{Size: 1}
	})
	forged := s.forgedMember(c, late)
	edit(s, c, func(c *v1alpha1.GoCache) { c.Spec.Suspend = false })
	s.waitFor("the cache has its volume", func() error { return bound(s, "ci") })
	good := s.verified(s.snapshot("good"))
	first := s.poolFilled(c, forged.UID)
	data := s.consumer("data", v1alpha1.GoCacheKind, "ci", on(late, node))
	s.waitFor("the PVC has its volume", func() error { return bound(s, data.Name) })
	s.reported(data, "Pooled", "from the pool of GoCache ci")
	s.holds(data, good.Status.VolumeSnapshotName)
	if text := logs.with("forbidden", "Forbidden"); text != "" {
		t.Errorf("the operator was refused something: %s", text)
	}

	s.poolFilled(c, first)
	mayNotReadNodes(t, node)
	other := s.consumer("other", v1alpha1.GoCacheKind, "ci", on(late, node))
	s.waitFor("the PVC has its volume", func() error { return bound(s, other.Name) })
	s.reported(other, "Cloning", "may not read node "+node)
	s.holds(other, good.Status.VolumeSnapshotName)
	if text := logs.with(`cannot get resource \"nodes\"`, `cannot get resource "nodes"`); text != "" {
		t.Errorf("passes fail without the right to read nodes: %s", text)
	}
}

// lateClass is a StorageClass whose volumes are made for a node.
func (s *stage) lateClass() string {
	s.Helper()
	name := s.ns + "-late"
	s.create(server.Client, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: env.Driver, VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer)})
	return name
}

// node is a node in a zone that has the name of the namespace.
func (s *stage) node(name string) string {
	s.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.ns + "-" + name, Labels: map[string]string{zoneLabel: s.ns}}}
	s.create(server.Client, node)
	s.Cleanup(func() {
		if err := server.Client.Delete(context.WithoutCancel(s.Context()), node); err != nil {
			s.Errorf("delete node %s: %v", node.Name, err)
		}
	})
	return node.Name
}

// on makes a PVC one of a class whose pod the scheduler has chosen a node for.
func on(class, node string) func(*corev1.PersistentVolumeClaim) {
	return func(pvc *corev1.PersistentVolumeClaim) {
		pvc.Spec.StorageClassName = &class
		metav1.SetMetaDataAnnotation(&pvc.ObjectMeta, volume.SelectedNodeAnnotation, node)
	}
}

// forgedMember is a PVC with the name, the labels and the owner of a volume of the pool,
// and with content of the attacker.
func (s *stage) forgedMember(c *v1alpha1.GoCache, class string) *corev1.PersistentVolumeClaim {
	s.Helper()
	evil := &snapshotv1.VolumeSnapshot{ObjectMeta: s.meta("evil"), Spec: snapshotv1.VolumeSnapshotSpec{
		Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("of-the-attacker")}}}
	s.create(s.attacker, evil)
	forged := volume.Claim{Namespace: s.ns, Name: pool.Name(c, 0), Labels: pool.Labels(c.Name), Class: &class, Size: c.Spec.Storage.Size, Snapshot: evil.Name}.Object()
	forged.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	forged.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(c, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))}
	s.create(s.attacker, forged)
	s.waitFor("the forged PVC has its volume", func() error { return bound(s, forged.Name) })
	return forged
}

// poolFilled waits until the pool of a cache has its one volume, held by another PVC than
// a former one, and returns the uid of that PVC.
func (s *stage) poolFilled(c *v1alpha1.GoCache, former any) any {
	s.Helper()
	var member any
	s.waitFor("the pool is filled", func() error {
		if err := s.read(c); err != nil {
			return err
		}
		if !apimeta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.PoolFilledCondition) {
			return fmt.Errorf("its status is %+v, the conditions %+v", c.Status.Pool, c.Status.Conditions)
		}
		if member = c.Status.Pool.Members[0].UID; member == fmt.Sprint(former) {
			return fmt.Errorf("it holds PVC %s", member)
		}
		return nil
	})
	return member
}

// reported waits for an event of a PVC.
func (s *stage) reported(pvc *corev1.PersistentVolumeClaim, reason, text string) {
	s.Helper()
	s.waitFor("event "+reason+" of "+pvc.Name, func() error {
		var events eventsv1.EventList
		if err := server.Client.List(s.Context(), &events, client.InNamespace(s.ns)); err != nil {
			return err
		}
		var seen []string
		for i := range events.Items {
			if e := &events.Items[i]; e.Regarding.UID == pvc.UID {
				seen = append(seen, e.Reason+": "+e.Note)
			}
		}
		if !slices.ContainsFunc(seen, func(e string) bool { return strings.HasPrefix(e, reason+": ") && strings.Contains(e, text) }) {
			return fmt.Errorf("its events are %q", seen)
		}
		return nil
	})
}

// holds asserts that the volume of a PVC was made from a VolumeSnapshot.
func (s *stage) holds(pvc *corev1.PersistentVolumeClaim, content string) {
	s.Helper()
	if err := s.read(pvc); err != nil {
		s.Fatal(err)
	}
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pvc.Spec.VolumeName}}
	if err := s.read(pv); err != nil {
		s.Fatal(err)
	}
	if got := pv.Annotations[cluster.ContentAnnotation]; got != content || content == "" {
		s.Errorf("PVC %s has the content of %q, want %q", pvc.Name, got, content)
	}
}

// mayNotReadNodes takes the right to read nodes from config/namespaced until the test
// ends, as an overlay may leave it out.
func mayNotReadNodes(t *testing.T, node string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // also of the cleanup
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "gocache-manager-cluster"}}
	set := func(change func()) error {
		if err := server.Client.Get(ctx, client.ObjectKeyFromObject(role), role); err != nil {
			return err
		}
		change()
		return server.Client.Update(ctx, role)
	}
	ofNodes := func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "nodes") }
	var all []rbacv1.PolicyRule
	if err := set(func() {
		all = role.Rules
		role.Rules = slices.DeleteFunc(slices.Clone(all), ofNodes)
	}); err != nil || len(role.Rules) != len(all)-1 {
		t.Fatalf("take the right away: %v, %d of %d rules are left", err, len(role.Rules), len(all))
	}
	t.Cleanup(func() {
		if err := set(func() { role.Rules = all }); err != nil {
			t.Errorf("give the right back: %v", err)
		}
	})
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: managerAccount, Groups: groupsOfManager}
	c, err := client.New(config, client.Options{Scheme: server.Scheme, Mapper: server.Client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the right is taken away", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: node}, &corev1.Node{}); !apierrors.IsForbidden(err) {
			return fmt.Errorf("read node %s: %w", node, orNone(err))
		}
		return nil
	})
}
