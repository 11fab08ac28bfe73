package populator

import (
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/faults"
)

var populators = schema.GroupVersionKind{Group: "populator.storage.k8s.io", Version: "v1beta1", Kind: "VolumePopulator"}

// TestRegistration holds that our kinds are registered once the cluster serves
// the list of sources, not before, and are registered again after a user
// removed them; and that nothing is written otherwise.
func TestRegistration(t *testing.T) {
	w := newWorld(t)
	mortal := &faults.Mortal{}
	fresh, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Scheme}) // with a mapper of its own
	w.must(err)
	r := &registrar{client: mortal.Client(fresh), live: fresh, interval: time.Hour}
	r.register(t.Context())
	if len(mortal.Writes) > 0 {
		t.Fatalf("the API is not served, and it wrote %q", mortal.Writes)
	}

	crd := volumePopulatorCRD()
	_, err = envtest.InstallCRDs(server.Config, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}})
	w.must(err)
	t.Cleanup(func() {
		if err := envtest.UninstallCRDs(server.Config, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}); err != nil {
			t.Error(err)
		}
	})
	r.register(t.Context())
	w.registered("gocache-gocaches", v1alpha1.GoCacheKind)
	w.registered("gocache-cachesnapshots", v1alpha1.CacheSnapshotKind)
	r.register(t.Context())
	if len(mortal.Writes) != 2 {
		t.Errorf("it wrote %q, want one for each kind", mortal.Writes)
	}

	gone := &unstructured.Unstructured{}
	gone.SetGroupVersionKind(populators)
	gone.SetName("gocache-gocaches")
	w.must(server.Client.Delete(t.Context(), gone))
	r.register(t.Context())
	w.registered("gocache-gocaches", v1alpha1.GoCacheKind)

	for write := range 2 {
		w.crash(fresh, faults.Point{Write: write + 1})
		w.crash(fresh, faults.Point{Write: write + 1, After: true})
	}
}

// crash registers with a process that dies at a point, and then with another.
func (w *world) crash(c client.WithWatch, point faults.Point) {
	w.t.Helper()
	for _, name := range []string{"gocache-gocaches", "gocache-cachesnapshots"} {
		gone := &unstructured.Unstructured{}
		gone.SetGroupVersionKind(populators)
		gone.SetName(name)
		w.must(client.IgnoreNotFound(server.Client.Delete(w.t.Context(), gone)))
	}
	mortal := &faults.Mortal{Point: point}
	dying := &registrar{client: mortal.Client(c), live: c}
	dying.register(w.t.Context())
	if !mortal.Dead() {
		w.t.Fatalf("%s: it was never killed", point)
	}
	next := &registrar{client: c, live: c}
	next.register(w.t.Context())
	w.registered("gocache-gocaches", v1alpha1.GoCacheKind)
	w.registered("gocache-cachesnapshots", v1alpha1.CacheSnapshotKind)
}

func (w *world) registered(name, kind string) {
	w.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(populators)
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Name: name}, o)
	if apierrors.IsNotFound(err) {
		w.t.Fatalf("%s is not registered", kind)
	}
	w.must(err)
	has, _, _ := unstructured.NestedStringMap(o.Object, "sourceKind")
	if has["group"] != v1alpha1.GroupName || has["kind"] != kind || o.GetLabels()[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
		w.t.Errorf("%s is %v", name, o.Object)
	}
}

// volumePopulatorCRD is the API as clusters serve it, as far as we use it.
func volumePopulatorCRD() *apiextensionsv1.CustomResourceDefinition {
	str := apiextensionsv1.JSONSchemaProps{Type: "string"}
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{
		Name: "volumepopulators." + populators.Group,
		// The group is protected: its definition has to name the approval.
		Annotations: map[string]string{"api-approved.kubernetes.io": "unapproved, for a test"},
	}}
	crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: populators.Group, Scope: apiextensionsv1.ClusterScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "volumepopulators", Singular: "volumepopulator", Kind: populators.Kind, ListKind: populators.Kind + "List"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name: populators.Version, Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", Required: []string{"sourceKind"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{
					"sourceKind": {Type: "object", Required: []string{"group", "kind"}, Properties: map[string]apiextensionsv1.JSONSchemaProps{"group": str, "kind": str}},
				},
			}},
		}},
	}
	return crd
}
