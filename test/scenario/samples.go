package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// Begin makes the namespace and applies the samples.
func (c *Cluster) Begin(ctx context.Context, namespace string, n *Narrator) (*Scenario, error) {
	return c.begin(ctx, namespace, n, func(*unstructured.Unstructured) (bool, error) { return true, nil })
}

// BeginSmall makes the namespace and applies of the samples the cache alone,
// with a warm-up of seconds: one package, fetched without a proxy of the
// operator's.
func (c *Cluster) BeginSmall(ctx context.Context, namespace string, n *Narrator) (*Scenario, error) {
	return c.begin(ctx, namespace, n, c.small)
}

// begin applies the samples for which change returns true, as it changed them.
func (c *Cluster) begin(ctx context.Context, namespace string, n *Narrator, change func(*unstructured.Unstructured) (bool, error)) (*Scenario, error) {
	s := &Scenario{Cluster: c, Namespace: namespace, n: n}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", // all pods of the operator comply with it
	}}}
	if err := c.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make namespace %s: %w", namespace, err)
	}
	samples := filepath.Join(Root(), "config", "samples")
	if c.Kind == Local {
		samples = filepath.Join(Root(), "config", "local", "samples")
	}
	return s, s.apply(ctx, samples, change)
}

// small keeps the cache and what it is made from.
func (c *Cluster) small(o *unstructured.Unstructured) (bool, error) {
	switch o.GetKind() {
	case "ConfigMap":
		return true, nil
	case v1alpha1.GoCacheKind:
	default:
		return false, nil
	}
	environment := map[string]any{}
	if c.UpstreamURL() != "" {
		environment["proxy"] = c.UpstreamURL()
	}
	sources := []any{map[string]any{"configMapRef": map[string]any{"name": Cache + "-modules"}, "packages": []any{"golang.org/x/text/transform"}}}
	return true, errors.Join(
		unstructured.SetNestedMap(o.Object, environment, "spec", "environment"),
		unstructured.SetNestedMap(o.Object, map[string]any{"sources": sources}, "spec", "warmUp"),
		unstructured.SetNestedField(o.Object, "512Mi", "spec", "storage", "size"),
		unstructured.SetNestedField(o.Object, string(v1alpha1.DeletionDelete), "spec", "storage", "deletionPolicy"))
}

// apply applies a kustomization. On a cluster without a way out the proxies
// get the one on this machine as their upstream.
func (s *Scenario) apply(ctx context.Context, dir string, change func(*unstructured.Unstructured) (bool, error)) error {
	var text bytes.Buffer
	if err := s.kubectl(ctx, &text, "kustomize", dir); err != nil {
		return err
	}
	objects := yaml.NewYAMLOrJSONDecoder(&text, 4096)
	for {
		var o unstructured.Unstructured
		err := objects.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the objects of %s: %w", dir, err)
		}
		o.SetNamespace(s.Namespace)
		if err := s.noteImage(&o); err != nil {
			return err
		}
		if keep, err := change(&o); err != nil || !keep {
			if err != nil {
				return fmt.Errorf("change %s %s: %w", o.GetKind(), o.GetName(), err)
			}
			continue
		}
		if o.GetKind() == v1alpha1.ModProxyKind && s.UpstreamURL() != "" {
			if err := unstructured.SetNestedField(o.Object, s.UpstreamURL(), "spec", "upstream", "proxy"); err != nil {
				return fmt.Errorf("set the upstream: %w", err)
			}
		}
		if err := s.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&o), client.FieldOwner("gocache-scenario"), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
}

// noteImage remembers the image that the sample Job builds in: the scenario's own
// tasks use it too.
func (s *Scenario) noteImage(o *unstructured.Unstructured) error {
	if o.GetKind() != "Job" {
		return nil
	}
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &job); err != nil {
		return fmt.Errorf("read the sample Job %s: %w", o.GetName(), err)
	}
	s.Image = job.Spec.Template.Spec.Containers[0].Image
	return nil
}
