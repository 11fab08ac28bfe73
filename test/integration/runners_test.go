package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/runners"
)

// TestRunners creates what each page has the user create, against a schema of its CI
// system, and then the pods and PVCs as the system does: the API server accepts them in
// a namespace with the level of Pod Security that the page promises, and they are what
// the cache expects of a consumer.
func TestRunners(t *testing.T) {
	if _, err := envtest.InstallCRDs(server.Config, envtest.CRDInstallOptions{CRDs: runners.CRDs(t)}); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range runners.Systems {
		known[s.Page] = true
		t.Run(s.Name, func(t *testing.T) {
			page := docs(t, s.Page)
			c := s.Make(t, page)
			ns := enforcing(t, c.Level)
			for _, o := range c.Objects {
				o.SetNamespace(ns)
				switch {
				case s.Name == "jenkins": // the plugin makes the pod: see below
				case o.GetName() == "":
					create(t, o)
				default:
					applyAgain(t, []*unstructured.Unstructured{o})
				}
			}
			isConsumer(t, ns, page, c)
		})
	}
	pages, err := filepath.Glob(filepath.Join(env.Root(), "docs", "ci", "runners", "*.md"))
	if err != nil || len(pages) < 2 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, path := range pages {
		if name := "runners/" + filepath.Base(path); !known[name] && name != "runners/README.md" {
			t.Errorf("no test makes the pods of %s", name)
		}
	}
	for name := range known {
		for _, row := range []string{"| uid and fsGroup | ", "| size and cost | ", "| turn off | ", "| see that it works | "} {
			if !strings.Contains(docs(t, name), "\n"+row) {
				t.Errorf("%s has no row %q", name, row)
			}
		}
	}
}

// create creates an object with a generated name twice, as for two runs.
func create(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	c := client.WithFieldValidation(server.Client, metav1.FieldValidationStrict)
	for range 2 {
		if err := c.Create(t.Context(), o.DeepCopy()); err != nil {
			t.Fatalf("create a %s: %v", o.GetKind(), err)
		}
	}
}

// docs is a page below docs/ci.
func docs(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(), "docs", "ci", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isConsumer holds that a pod uses its clone as the cache expects.
func isConsumer(t *testing.T, ns, page string, c runners.Consumer) {
	t.Helper()
	want := int64(65532)
	if strings.Contains(page, "kind: GoCache\nmetadata:") {
		cache := &v1alpha1.GoCache{}
		convert(t, runners.Block(t, page, "apiVersion: cache.gocache.dev/v1alpha1\n"), cache)
		cache.Namespace = ns
		if err := server.Client.Create(t.Context(), cache); err != nil {
			t.Fatalf("the GoCache of the page: %v", err)
		}
		want = *cache.Spec.Storage.Ownership.RunAsUser
	}
	s := c.Pod.SecurityContext
	if s == nil || s.FSGroup == nil || *s.FSGroup != want || s.FSGroupChangePolicy == nil || *s.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
		t.Errorf("the pod does not have the group %d of the cache: %+v", want, s)
	}
	if user := c.User(); user != want && (user != 0 || c.Level != runners.Privileged) {
		t.Errorf("the steps run as %d, want %d, the owner of the cache", user, want)
	}
	for _, v := range c.Pod.Volumes {
		if v.Ephemeral != nil {
			template := *v.Ephemeral.VolumeClaimTemplate
			template.Name = v.Name
			c.PVCs = append(c.PVCs, template)
		}
	}
	if len(c.PVCs) != 1 {
		t.Fatalf("%d PVCs, want the clone alone", len(c.PVCs))
	}
	clone := c.PVCs[0]
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: *clone.ObjectMeta.DeepCopy(), Spec: clone.Spec}
	pvc.Namespace = ns
	if err := server.Client.Create(t.Context(), pvc); err != nil {
		t.Fatalf("its PVC: %v", err)
	}
	if from := pvc.Spec.DataSourceRef; from == nil || *from.APIGroup != v1alpha1.GroupName || from.Kind != v1alpha1.GoCacheKind || from.Name != "ci" {
		t.Errorf("the PVC is not filled from the cache: %+v", from)
	}
	if !slices.ContainsFunc(c.Pod.Volumes, func(v corev1.Volume) bool { return v.Name == clone.Name }) {
		c.Pod.Volumes = append(c.Pod.Volumes, corev1.Volume{Name: clone.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: clone.Name},
		}})
	}
	if !slices.ContainsFunc(c.Steps.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == clone.Name && m.MountPath == "/gocache" && !m.ReadOnly
	}) {
		t.Errorf("the steps do not have the clone at /gocache: %+v", c.Steps.VolumeMounts)
	}
	if dir := c.Steps.WorkingDir; dir != "" && !slices.ContainsFunc(c.Steps.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == dir && m.Name != clone.Name
	}) {
		t.Errorf("the steps run in %s, where no checkout is mounted: %+v", dir, c.Steps.VolumeMounts)
	}
	ofCache := func(from corev1.EnvFromSource) bool {
		return from.ConfigMapRef != nil && from.ConfigMapRef.Name == "ci-env"
	}
	one := func(v corev1.EnvVar) bool {
		return v.Name == "GOMODCACHE" && v.ValueFrom != nil && v.ValueFrom.ConfigMapKeyRef != nil && v.ValueFrom.ConfigMapKeyRef.Name == "ci-env"
	}
	if !slices.ContainsFunc(c.Steps.EnvFrom, ofCache) && !slices.ContainsFunc(c.Steps.Env, one) {
		t.Errorf("the steps do not have the environment of the cache: %+v %+v", c.Steps.EnvFrom, c.Steps.Env)
	}
	// No controller makes service accounts here; admission would wait for them.
	c.Pod.AutomountServiceAccountToken = new(bool)
	pod := &corev1.Pod{Spec: c.Pod}
	pod.Namespace, pod.GenerateName = ns, "runner-"
	if err := server.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("its pod: %v", err)
	}
}
