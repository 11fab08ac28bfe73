package volume

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

var populators = schema.GroupVersionKind{Group: "populator.storage.k8s.io", Version: "v1beta1", Kind: "VolumePopulator"}

// mapper is one of a cluster that has the list of populators, or has not.
func mapper(listed bool) meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{populators.GroupVersion()})
	if listed {
		m.Add(populators, meta.RESTScopeRoot)
	}
	return m
}

// brokenMapper cannot be asked.
type brokenMapper struct{ meta.RESTMapper }

func (brokenMapper) RESTMapping(schema.GroupKind, ...string) (*meta.RESTMapping, error) {
	return nil, errBroken
}

// populator is what stands in the list under the name of kind GoCache.
func populator(group, kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"sourceKind": map[string]any{"group": group, "kind": kind}}}
	u.SetGroupVersionKind(populators)
	u.SetName("gocache-gocaches")
	return u
}

func TestRegister(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Group: populators.Group, Resource: "volumepopulators"}, "gocache-gocaches")
	for _, tt := range []struct {
		name    string
		mapper  meta.RESTMapper
		existed *unstructured.Unstructured
		reads   error // what each read ends with
		writes  error // what each write ends with
		wrote   bool
		want    error
	}{
		{name: "no such list in the cluster", mapper: mapper(false)},
		{name: "it cannot be found out whether there is a list", mapper: brokenMapper{}, want: errBroken},
		{name: "not listed yet", mapper: mapper(true), wrote: true},
		{name: "listed", mapper: mapper(true), existed: populator(v1alpha1.GroupName, "GoCache")},
		{name: "listed with another kind", mapper: mapper(true), existed: populator(v1alpha1.GroupName, "Cache"), wrote: true},
		{name: "listed with another group", mapper: mapper(true), existed: populator("old.example.com", "GoCache"), wrote: true},
		{name: "the read fails", mapper: mapper(true), reads: errBroken, want: errBroken},
		{name: "the write fails", mapper: mapper(true), writes: errBroken, want: errBroken},
		{name: "the list was removed meanwhile", mapper: mapper(true), writes: gone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithRESTMapper(tt.mapper)
			if tt.existed != nil {
				b.WithObjects(tt.existed)
			}
			var written runtime.ApplyConfiguration
			var with client.ApplyOptions
			c := b.WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if tt.reads != nil {
						return tt.reads
					}
					return c.Get(ctx, key, o, options...)
				},
				Apply: func(_ context.Context, _ client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
					written = o
					with.ApplyOptions(options)
					return tt.writes
				},
			}).Build()
			wrote, err := Register(t.Context(), c, c, "GoCache", "test")
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if wrote != tt.wrote {
				t.Errorf("it says it wrote: %v, want %v", wrote, tt.wrote)
			}
			if !tt.wrote {
				return
			}
			text, err := json.Marshal(written)
			if err != nil {
				t.Fatal(err)
			}
			got := &unstructured.Unstructured{}
			if err := got.UnmarshalJSON(text); err != nil {
				t.Fatal(err)
			}
			want := populator(v1alpha1.GroupName, "GoCache")
			want.SetLabels(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if with.FieldManager != "test" || with.Force == nil || !*with.Force {
				t.Errorf("written with %+v", with)
			}
		})
	}
}
