package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/runners"
)

// TestRunners creates the pods and PVCs of each page as its CI system does: the
// API server accepts them, and they are what the cache expects of a consumer.
func TestRunners(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(env.Root(), "docs", "ci", "runners", "*.md"))
	if err != nil || len(pages) != len(runners.Systems)+1 {
		t.Fatalf("%d pages, %d of them known: %v", len(pages)-1, len(runners.Systems), err)
	}
	for _, path := range pages {
		name := filepath.Base(path)
		if name == "README.md" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			makes, known := runners.Systems[name]
			if !known {
				t.Fatal("the test does not know how this CI system makes a pod")
			}
			c := makes(t, string(text))
			namespace := restricted
			if c.Baseline {
				namespace = server.Namespace
			}
			isConsumer(t, namespace(t), string(text), c)
		})
	}
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
	if s == nil || s.RunAsUser == nil || *s.RunAsUser != want || s.FSGroup == nil || *s.FSGroup != want ||
		s.FSGroupChangePolicy == nil || *s.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
		t.Errorf("the pod does not run as %d, the owner of the cache: %+v", want, s)
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
	builds := false
	for _, container := range c.Pod.Containers {
		mounted := slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == clone.Name && m.MountPath == "/gocache" && !m.ReadOnly
		})
		informed := slices.ContainsFunc(container.EnvFrom, func(e corev1.EnvFromSource) bool { return e.ConfigMapRef != nil && e.ConfigMapRef.Name == "ci-env" })
		builds = builds || mounted && informed
	}
	if !builds {
		t.Error("no container mounts the clone at /gocache and has the environment of the cache")
	}
	// No controller makes service accounts here; admission would wait for them.
	c.Pod.AutomountServiceAccountToken = new(bool)
	pod := &corev1.Pod{Spec: c.Pod}
	pod.Namespace, pod.GenerateName = ns, "runner-"
	if err := server.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("its pod: %v", err)
	}
}
