package volume

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// populatorKind is the API in which a cluster lists its volume populators. It
// is an add-on that not every cluster has.
var populatorKind = schema.GroupKind{Group: "populator.storage.k8s.io", Kind: "VolumePopulator"}

// Register lists a kind of this API's group as a source of PVCs, where the
// cluster has such a list: the volume-data-source-validator warns about every
// PVC whose source is not on it. It reports whether it wrote. The list is for
// people and for the validator; PVCs are filled without it.
func Register(ctx context.Context, c client.Client, live client.Reader, kind, fieldOwner string) (wrote bool, err error) {
	mapping, err := c.RESTMapper().RESTMapping(populatorKind)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", populatorKind, err)
	}
	source := map[string]any{"group": v1alpha1.GroupName, "kind": kind}
	desired := &unstructured.Unstructured{Object: map[string]any{"sourceKind": source}}
	desired.SetGroupVersionKind(mapping.GroupVersionKind)
	desired.SetName("gocache-" + strings.ToLower(kind) + "s")
	desired.SetLabels(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})

	is := &unstructured.Unstructured{}
	is.SetGroupVersionKind(mapping.GroupVersionKind)
	err = live.Get(ctx, client.ObjectKeyFromObject(desired), is)
	if err == nil {
		has, _, _ := unstructured.NestedStringMap(is.Object, "sourceKind")
		if has["group"] == v1alpha1.GroupName && has["kind"] == kind {
			return false, nil
		}
	}
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read %s %s: %w", populatorKind.Kind, desired.GetName(), err)
	}
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(desired), client.FieldOwner(fieldOwner), client.ForceOwnership)
	if apierrors.IsNotFound(err) { // the API is not served any more
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("register %s as a source of PVCs: %w", kind, err)
	}
	return true, nil
}
