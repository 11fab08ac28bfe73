package integration

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
)

// TestSamples applies the samples as a person would, and again: nothing is
// refused, nothing is unknown to the schema, nothing changes the second time,
// and every pod may run where Pod Security "restricted" is enforced.
func TestSamples(t *testing.T) {
	for _, dir := range []string{"samples", "local/samples"} {
		t.Run(dir, func(t *testing.T) {
			ns := restricted(t)
			objects := kustomize(t, dir)
			for _, o := range objects {
				o.SetNamespace(ns)
			}
			applyAgain(t, objects)
			podsAreRestricted(t, ns, objects)
		})
	}
}

// TestOperator applies the operator itself in the same way.
func TestOperator(t *testing.T) {
	for _, dir := range []string{"default", "local"} {
		t.Run(dir, func(t *testing.T) {
			objects := kustomize(t, dir)
			applyAgain(t, objects)
			podsAreRestricted(t, "gocache-system", objects)
			operatorImageIsItsOwn(t, objects)
			rolesAreMinimal(t, objects)
		})
	}
}

// TestReferenceModuleIsOfTheProgram keeps the sample's reference module and the go.sum that the
// samples are warmed from on the same checksum.
func TestReferenceModuleIsOfTheProgram(t *testing.T) {
	sums := map[string]string{}
	data, err := os.ReadFile(filepath.Join(env.Root(), "config", "samples", "program", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			sums[fields[0]+"@"+fields[1]] = fields[2]
		}
	}
	seen := 0
	for _, o := range kustomize(t, "samples") {
		if o.GetKind() != v1alpha1.ModProxyKind {
			continue
		}
		var proxy v1alpha1.ModProxy
		convert(t, o.Object, &proxy)
		for _, c := range proxy.Spec.Probes.ReferenceModules {
			seen++
			if want := sums[c.Module+"@"+c.Version]; c.Sum != want {
				t.Errorf("reference module %s@%s has sum %s, go.sum has %q", c.Module, c.Version, c.Sum, want)
			}
			if want := sums[c.Module+"@"+c.Version+"/go.mod"]; c.GoModSum != want {
				t.Errorf("reference module %s@%s has goModSum %s, go.sum has %q", c.Module, c.Version, c.GoModSum, want)
			}
		}
	}
	if seen == 0 {
		t.Error("the sample proxy has no reference module: its content is never checked")
	}
}

// kustomize builds a folder of config with the kubectl beside the API server.
func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "kustomize", filepath.Join(env.Root(), "config", dir))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize config/%s: %v\n%s", dir, err, &stderr)
	}
	var objects []*unstructured.Unstructured
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(out))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
			t.Fatalf("config/%s: %v\n%s", dir, err, doc)
		}
		objects = append(objects, u)
	}
	if len(objects) == 0 {
		t.Fatalf("config/%s holds nothing", dir)
	}
	return objects
}

// applyAgain applies server-side with strict validation, three times. The
// generation must never move: that would be drift between what is declared and
// what is stored. The API server may write a new custom resource once more to
// settle the ownership of defaults; after that nothing may be written at all.
func applyAgain(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	c := client.WithFieldValidation(server.Client, metav1.FieldValidationStrict)
	for _, o := range objects {
		name := o.GetKind() + " " + o.GetName()
		var applied [3]*unstructured.Unstructured
		for i := range applied {
			applied[i] = o.DeepCopy()
			err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied[i]), client.FieldOwner("a-person"), client.ForceOwnership)
			if err != nil {
				t.Fatalf("apply %s: %v", name, err)
			}
		}
		if o.GetKind() == "CustomResourceDefinition" {
			continue // The API server writes its status meanwhile.
		}
		if applied[0].GetGeneration() != applied[2].GetGeneration() {
			t.Errorf("%s: the spec changed when it was applied again", name)
		}
		if applied[1].GetResourceVersion() != applied[2].GetResourceVersion() {
			t.Errorf("%s is written each time it is applied", name)
		}
	}
}

// restricted makes a namespace that enforces Pod Security "restricted".
func restricted(t *testing.T) string {
	t.Helper()
	return enforcing(t, "restricted")
}

// enforcing makes a namespace that enforces a level of Pod Security.
func enforcing(t *testing.T, level string) string {
	t.Helper()
	var ns corev1.Namespace
	if err := server.Client.Get(t.Context(), client.ObjectKey{Name: server.Namespace(t)}, &ns); err != nil {
		t.Fatal(err)
	}
	ns.Labels["pod-security.kubernetes.io/enforce"] = level
	if err := server.Client.Update(t.Context(), &ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// podsAreRestricted makes a pod of each template, as a dry run: admission
// judges pods, not the objects that make them.
func podsAreRestricted(t *testing.T, namespace string, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		spec, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		if err != nil || !found {
			continue
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "template-", Namespace: namespace}}
		convert(t, spec, &pod.Spec)
		// No controller makes service accounts here; admission would wait for them.
		pod.Spec.ServiceAccountName = ""
		pod.Spec.AutomountServiceAccountToken = new(bool)
		if o.GetKind() == "StatefulSet" {
			claims, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
			for _, claim := range claims {
				name, _, _ := unstructured.NestedString(claim.(map[string]any), "metadata", "name")
				pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
				}})
			}
		}
		if err := server.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("the pods of %s %s are refused: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// operatorImageIsItsOwn holds that agents come from the manager's own image.
func operatorImageIsItsOwn(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		spec, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		var pod corev1.PodSpec
		convert(t, spec, &pod)
		for _, v := range pod.Containers[0].Env {
			if v.Name == "OPERATOR_IMAGE" && v.Value == pod.Containers[0].Image {
				return
			}
		}
		t.Errorf("%s: OPERATOR_IMAGE is not the image of the manager itself", o.GetName())
	}
}

// rolesAreMinimal refuses wildcards: a role names what it is for.
func rolesAreMinimal(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		if kind := o.GetKind(); kind != "ClusterRole" && kind != "Role" {
			continue
		}
		var role rbacv1.ClusterRole
		convert(t, o.Object, &role)
		for _, r := range role.Rules {
			for _, list := range [][]string{r.Verbs, r.APIGroups, r.Resources, r.NonResourceURLs} {
				for _, v := range list {
					if strings.Contains(v, "*") {
						t.Errorf("%s %s has a wildcard in %v", o.GetKind(), o.GetName(), r)
					}
				}
			}
		}
	}
}

func convert(t *testing.T, from map[string]any, to any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from, to, true); err != nil {
		t.Fatalf("convert to %T: %v", to, err)
	}
}
