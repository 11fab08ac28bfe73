package routetest

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/internal/kube/route"
)

// Namespace of the objects in RunObjects.
const Namespace = "ns"

// Objects are what a backend makes in a cluster that runs none of them.
type Objects struct {
	// Router for the instances blue and green, made of objects of owner.
	Router route.Router
	// Address that clients are to use.
	Address route.Address
	// Accept plays what has to accept the objects before the address is known; nil:
	// nothing has to.
	Accept func(t *testing.T)
}

// RunObjects examines what a backend makes, changes and removes. start makes the
// backend whose objects belong to owner, and lie in the namespace Namespace.
func RunObjects(t *testing.T, start func(t *testing.T, c client.Client, owner client.Object) Objects) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, *objects){
		"the address is known":                                   testAddress,
		"objects belong to the owner":                            testOwned,
		"repeating writes nothing":                               testRepeated,
		"it is settled when the cluster has followed":            testSettled,
		"nothing is left after Remove":                           testRemove,
		"objects of another owner are neither taken nor removed": testForeign,
	} {
		t.Run(name, func(t *testing.T) {
			o := &objects{Client: newClient(t), owner: newOwner("owner")}
			o.Objects = start(t, o.Client, o.owner)
			run(t, o)
		})
	}
}

type objects struct {
	client.Client
	Objects
	owner client.Object
}

func newOwner(uid types.UID) client.Object {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "goproxy", UID: uid}}
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&appsv1.Deployment{}).Build()
}

// all lists the objects that there are, by kind and name.
func (o *objects) all(t *testing.T) map[string]client.Object {
	t.Helper()
	found := map[string]client.Object{}
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.ServiceAccountList{},
		&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &policyv1.PodDisruptionBudgetList{}, &gatewayv1.HTTPRouteList{},
	} {
		if err := o.List(t.Context(), list, client.InNamespace(Namespace)); err != nil {
			t.Fatal(err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			one := item.(client.Object)
			found[reflect.TypeOf(one).Elem().Name()+" "+one.GetName()] = one
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// make ensures the router and publishes an intent.
func (o *objects) make(t *testing.T) {
	t.Helper()
	ensured, err := o.Router.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ensured.Waits != "" {
		t.Fatalf("it waits for %s", ensured.Waits)
	}
	if err := o.Router.Set(t.Context(), parse("blue=100 green=drain")); err != nil {
		t.Fatal(err)
	}
}

// roll plays the Deployment controller: all replicas are ready.
func (o *objects) roll(t *testing.T) {
	t.Helper()
	for _, one := range o.all(t) {
		if d, ok := one.(*appsv1.Deployment); ok {
			n := *d.Spec.Replicas
			d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n}
			if err := o.Status().Update(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testAddress(t *testing.T, o *objects) {
	if o.Accept != nil {
		o.make(t)
		o.Accept(t)
	}
	got, err := o.Router.URL(t.Context())
	if err != nil || got != o.Address || got.URL == "" {
		t.Errorf("URL = %+v, %v, want %+v", got, err, o.Address)
	}
}

func testOwned(t *testing.T, o *objects) {
	o.make(t)
	all := o.all(t)
	if len(all) == 0 {
		t.Error("there is no object")
	}
	for name, one := range all {
		if !metav1.IsControlledBy(one, o.owner) {
			t.Errorf("%s does not belong to the owner", name)
		}
	}
}

func testRepeated(t *testing.T, o *objects) {
	o.make(t)
	before := o.all(t)
	o.make(t)
	after := o.all(t)
	if len(after) != len(before) {
		t.Errorf("%d objects, then %d", len(before), len(after))
	}
	for name, one := range before {
		if after[name] == nil || after[name].GetResourceVersion() != one.GetResourceVersion() {
			t.Errorf("%s was written again", name)
		}
	}
}

func testSettled(t *testing.T, o *objects) {
	o.make(t)
	hasReplicas := false
	for _, one := range o.all(t) {
		_, is := one.(*appsv1.Deployment)
		hasReplicas = hasReplicas || is
	}
	for range 2 { // the second call writes nothing
		ensured, err := o.Router.Ensure(t.Context())
		if err != nil || hasReplicas && ensured.Settled {
			t.Errorf("before a replica is ready: %+v, %v", ensured, err)
		}
	}
	o.roll(t)
	if ensured, err := o.Router.Ensure(t.Context()); err != nil || !ensured.Settled {
		t.Errorf("after all replicas are ready: %+v, %v", ensured, err)
	}
}

func testRemove(t *testing.T, o *objects) {
	o.make(t)
	for range 2 {
		if err := o.Router.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name := range o.all(t) {
		t.Errorf("%s was left", name)
	}
	o.make(t) // and back
}

func testForeign(t *testing.T, o *objects) {
	o.make(t)
	stranger := newOwner("stranger")
	before := o.all(t)
	for _, one := range before {
		one.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(stranger, corev1.SchemeGroupVersion.WithKind("ConfigMap"))})
		if err := o.Update(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	before = o.all(t)
	_, ensureErr := o.Router.Ensure(t.Context())
	setErr := o.Router.Set(t.Context(), parse("blue=drain green=100"))
	if ensureErr == nil && setErr == nil {
		t.Error("neither Ensure nor Set reports that the objects belong to another owner")
	}
	if err := o.Router.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	after := o.all(t)
	for name, one := range before {
		if after[name] == nil || after[name].GetResourceVersion() != one.GetResourceVersion() {
			t.Errorf("%s, which belongs to another owner, was changed or removed", name)
		}
	}
}
