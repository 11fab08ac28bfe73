package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
)

// AppliedAnnotation is the digest of the state that was applied last.
const AppliedAnnotation = v1alpha1.GroupName + "/applied"

// Applier applies objects under one field owner.
type Applier struct {
	// Client writes, and reads the live object (from a cache, if it has one).
	Client client.Client
	// Live reads past the cache. A cache that holds only the operator's objects
	// lacks a foreign one with the same name.
	Live client.Reader
	// FieldOwner names the controller that sets the fields.
	FieldOwner string
}

// ConflictError means that an object of a needed name exists and is not ours.
type ConflictError struct {
	// Kind, Namespace and Name of the object that is in the way.
	Kind, Namespace, Name string
	// Reason why it counts as foreign.
	Reason string
}

// Error is what is in the way and what to do.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %s/%s exists and is not ours (%s): rename or remove it", e.Kind, e.Namespace, e.Name, e.Reason)
}

// Owner is the object that another one is made for.
type Owner struct {
	object   client.Object
	detached bool
}

// ControlledBy is an owner that the object is deleted with: garbage collection
// removes the one after the other.
func ControlledBy(o client.Object) Owner { return Owner{object: o} }

// DetachedFrom is an owner that the object outlives.
func DetachedFrom(o client.Object) Owner { return Owner{object: o, detached: true} }

// Apply applies the desired object for its owner. It marks the object as
// managed by the operator, and reports whether it wrote.
func (a Applier) Apply(ctx context.Context, owner Owner, desired client.Object) (wrote bool, err error) {
	u, differs, err := a.compare(ctx, owner, desired)
	if err != nil || !differs {
		return false, err
	}
	if err := a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(a.FieldOwner), client.ForceOwnership); err != nil {
		return false, fmt.Errorf("apply %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
	return true, nil
}

// Create creates the desired object for its owner, marked as Apply marks it, and
// returns the uid from the API server's answer. Empty: an object of the name,
// made for the same owner, exists already. It was not changed, and may be
// another client's.
func (a Applier) Create(ctx context.Context, owner Owner, desired client.Object) (types.UID, error) {
	u, err := a.prepare(owner, desired)
	if err != nil {
		return "", err
	}
	err = a.Client.Create(ctx, u, client.FieldOwner(a.FieldOwner))
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			err = fmt.Errorf("create %s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
		}
		return u.GetUID(), err
	}
	live, err := newObject(a.Client.Scheme(), desired)
	if err == nil {
		err = a.Live.Get(ctx, client.ObjectKeyFromObject(desired), live)
	}
	if err != nil {
		if apierrors.IsNotFound(err) { // it is gone again
			return "", nil
		}
		return "", fmt.Errorf("read %s %s/%s, which exists already: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
	return "", ours(owner.object, live, u, u.GetKind())
}

// Differs reports whether Apply of the same would write.
func (a Applier) Differs(ctx context.Context, owner Owner, desired client.Object) (bool, error) {
	_, differs, err := a.compare(ctx, owner, desired)
	return differs, err
}

// compare returns what is to be sent, and whether that is needed.
func (a Applier) compare(ctx context.Context, owner Owner, desired client.Object) (*unstructured.Unstructured, bool, error) {
	u, err := a.prepare(owner, desired)
	if err != nil {
		return nil, false, err
	}
	live, err := a.live(ctx, desired)
	if err != nil {
		return nil, false, err
	}
	if live == nil {
		return u, true, nil
	}
	if err := ours(owner.object, live, u, u.GetKind()); err != nil {
		return nil, false, err
	}
	same, err := satisfied(u, live)
	return u, !same, err
}

// prepare converts the desired object into the request.
func (a Applier) prepare(owner Owner, desired client.Object) (*unstructured.Unstructured, error) {
	desired = desired.DeepCopyObject().(client.Object)
	gvk, err := apiutil.GVKForObject(desired, a.Client.Scheme())
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	labels := desired.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	desired.SetLabels(labels)
	if !owner.detached {
		if err := controllerutil.SetControllerReference(owner.object, desired, a.Client.Scheme()); err != nil {
			return nil, fmt.Errorf("apply %s %s: %w", gvk.Kind, desired.GetName(), err)
		}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(desired)
	if err != nil {
		return nil, fmt.Errorf("apply %s %s: %w", gvk.Kind, desired.GetName(), err)
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	for _, field := range []string{"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	digest, err := digestOf(u)
	if err != nil {
		return nil, err
	}
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AppliedAnnotation] = digest
	u.SetAnnotations(annotations)
	return u, nil
}

// live reads the object as it is, or returns nil.
func (a Applier) live(ctx context.Context, desired client.Object) (client.Object, error) {
	live, err := newObject(a.Client.Scheme(), desired)
	if err != nil {
		return nil, err
	}
	err = a.Client.Get(ctx, client.ObjectKeyFromObject(desired), live)
	if apierrors.IsNotFound(err) {
		err = a.Live.Get(ctx, client.ObjectKeyFromObject(desired), live)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s before applying it: %w", desired.GetName(), err)
	}
	return live, nil
}

func newObject(scheme *runtime.Scheme, like client.Object) (client.Object, error) {
	gvk, err := apiutil.GVKForObject(like, scheme)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	o, err := scheme.New(gvk)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	return o.(client.Object), nil
}

// ours refuses an object that the operator did not make, or that it made for
// another owner.
func ours(owner client.Object, live client.Object, desired client.Object, kind string) error {
	conflict := func(reason string) error {
		return &ConflictError{Kind: kind, Namespace: live.GetNamespace(), Name: live.GetName(), Reason: reason}
	}
	if controller := metav1.GetControllerOf(live); controller != nil {
		if controller.UID != owner.GetUID() {
			return conflict(fmt.Sprintf("controlled by %s %s", controller.Kind, controller.Name))
		}
		return nil
	}
	if live.GetLabels()[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
		return conflict("without label " + v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedByValue)
	}
	// What outlived its owner may be taken up again by the same, and by no other.
	for _, label := range identity {
		if is, want := live.GetLabels()[label], desired.GetLabels()[label]; is != "" && is != want {
			return conflict(fmt.Sprintf("with label %s=%s", label, is))
		}
	}
	return nil
}

// identity are the labels that identify the purpose of an object.
var identity = []string{v1alpha1.CacheLabel, v1alpha1.SnapshotLabel, v1alpha1.SnapshotUIDLabel, v1alpha1.ProxyLabel, v1alpha1.InstanceLabel}

// satisfied reports whether the live object already is the desired one: made
// from the same desired state, and no field of it changed since.
func satisfied(desired *unstructured.Unstructured, live client.Object) (bool, error) {
	if live.GetAnnotations()[AppliedAnnotation] != desired.GetAnnotations()[AppliedAnnotation] {
		return false, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false, fmt.Errorf("compare %s: %w", desired.GetName(), err)
	}
	for key, want := range desired.Object {
		if key == "apiVersion" || key == "kind" { // a typed object carries neither
			continue
		}
		if !contains(content[key], want) {
			return false, nil
		}
	}
	return true, nil
}

// contains reports whether an object has all desired fields. Other fields
// (defaults, other owners' fields) may have any value.
func contains(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return len(want) == 0
		}
		for k, v := range want {
			if !contains(have[k], v) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return !ok && len(want) == 0
		}
		for i := range want {
			if !contains(have[i], want[i]) {
				return false
			}
		}
		return true
	case nil:
		return true
	default:
		if have == nil { // the server drops zero values
			return reflect.ValueOf(want).IsZero()
		}
		return reflect.DeepEqual(have, want)
	}
}

func digestOf(u *unstructured.Unstructured) (string, error) {
	b, err := json.Marshal(u.Object) // encoding/json sorts the keys of maps
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", u.GetName(), err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}
