package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
)

// consumer is a pod as a CI system makes it from a page, and the PVCs
// that the system makes beside it.
type consumer struct {
	pod  corev1.PodSpec
	pvcs []corev1.PersistentVolumeClaimTemplate
	// baseline: the page does not promise Pod Security "restricted".
	baseline bool
}

// runners are how the CI system of each page makes a pod.
var runners = map[string]func(*testing.T, string) consumer{
	"arc.md": func(t *testing.T, page string) (c consumer) {
		into(t, block(t, page, "# values\n"), &c.pod, "template", "spec")
		return c
	},
	"gitlab.md": func(t *testing.T, page string) (c consumer) {
		patch := regexp.MustCompile(`(?s)patch = '''\n(.*?)\n'''`).FindStringSubmatch(page)
		if patch == nil {
			t.Fatal("no patch")
		}
		text, err := yaml.YAMLToJSONStrict([]byte(patch[1]))
		if err != nil {
			t.Fatal(err)
		}
		made, err := json.Marshal(corev1.PodSpec{Containers: []corev1.Container{{Name: "build", Image: "golang"}, {Name: "helper", Image: "helper"}}})
		if err != nil {
			t.Fatal(err)
		}
		merged, err := strategicpatch.StrategicMergePatch(made, text, corev1.PodSpec{})
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(merged, &c.pod); err != nil {
			t.Fatal(err)
		}
		c.baseline = true
		return c
	},
	"tekton.md": func(t *testing.T, page string) (c consumer) {
		run := block(t, page, "apiVersion: tekton.dev/v1\n")
		into(t, run, &c.pod, "spec", "podTemplate")
		into(t, run, &c.pod.Containers, "spec", "taskSpec", "steps")
		var template corev1.Container
		into(t, run, &template, "spec", "taskSpec", "stepTemplate")
		var bound []struct {
			Name     string
			Template *corev1.PersistentVolumeClaimTemplate `json:"volumeClaimTemplate"`
			EmptyDir *corev1.EmptyDirVolumeSource
		}
		into(t, run, &bound, "spec", "workspaces")
		var declared []struct{ Name, MountPath string }
		into(t, run, &declared, "spec", "taskSpec", "workspaces")
		for _, w := range bound {
			if w.Template != nil {
				w.Template.Name = w.Name
				c.pvcs = append(c.pvcs, *w.Template)
			}
		}
		for i := range c.pod.Containers {
			step := &c.pod.Containers[i]
			step.EnvFrom, step.SecurityContext = template.EnvFrom, template.SecurityContext
			step.WorkingDir = "/workspace/source"
			for _, w := range declared {
				if slices.ContainsFunc(c.pvcs, func(p corev1.PersistentVolumeClaimTemplate) bool { return p.Name == w.Name }) {
					step.VolumeMounts = append(step.VolumeMounts, corev1.VolumeMount{Name: w.Name, MountPath: w.MountPath})
				}
			}
		}
		return c
	},
	"jenkins.md": func(t *testing.T, page string) (c consumer) {
		into(t, block(t, page, "apiVersion: v1\n"), &c.pod, "spec")
		return c
	},
	"argo-workflows.md": func(t *testing.T, page string) (c consumer) {
		workflow := block(t, page, "apiVersion: argoproj.io/v1alpha1\n")
		c.pod.SecurityContext = &corev1.PodSecurityContext{}
		into(t, workflow, c.pod.SecurityContext, "spec", "securityContext")
		into(t, workflow, &c.pvcs, "spec", "volumeClaimTemplates")
		var templates []struct {
			Name      string
			Container corev1.Container
		}
		into(t, workflow, &templates, "spec", "templates")
		for _, template := range templates {
			template.Container.Name = "main"
			c.pod.Containers = append(c.pod.Containers, template.Container)
		}
		return c
	},
	"buildkite.md": func(t *testing.T, page string) (c consumer) {
		into(t, block(t, page, "apiVersion: v1\n"), &c.pod, "template", "spec")
		return c
	},
}

// TestRunners creates the pods and PVCs of each page as its CI system does: the
// API server accepts them, and they are what the cache expects of a consumer.
func TestRunners(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(env.Root(), "docs", "ci", "runners", "*.md"))
	if err != nil || len(pages) != len(runners)+1 {
		t.Fatalf("%d pages, %d of them known: %v", len(pages)-1, len(runners), err)
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
			makes, known := runners[name]
			if !known {
				t.Fatal("the test does not know how this CI system makes a pod")
			}
			c := makes(t, string(text))
			namespace := restricted
			if c.baseline {
				namespace = server.Namespace
			}
			isConsumer(t, namespace(t), string(text), c)
		})
	}
}

// isConsumer holds that a pod uses its clone as the cache expects.
func isConsumer(t *testing.T, ns, page string, c consumer) {
	t.Helper()
	want := int64(65532)
	if strings.Contains(page, "kind: GoCache\nmetadata:") {
		cache := &v1alpha1.GoCache{}
		convert(t, block(t, page, "apiVersion: cache.gocache.dev/v1alpha1\n"), cache)
		cache.Namespace = ns
		if err := server.Client.Create(t.Context(), cache); err != nil {
			t.Fatalf("the GoCache of the page: %v", err)
		}
		want = *cache.Spec.Storage.Ownership.RunAsUser
	}
	s := c.pod.SecurityContext
	if s == nil || s.RunAsUser == nil || *s.RunAsUser != want || s.FSGroup == nil || *s.FSGroup != want ||
		s.FSGroupChangePolicy == nil || *s.FSGroupChangePolicy != corev1.FSGroupChangeOnRootMismatch {
		t.Errorf("the pod does not run as %d, the owner of the cache: %+v", want, s)
	}
	for _, v := range c.pod.Volumes {
		if v.Ephemeral != nil {
			template := *v.Ephemeral.VolumeClaimTemplate
			template.Name = v.Name
			c.pvcs = append(c.pvcs, template)
		}
	}
	if len(c.pvcs) != 1 {
		t.Fatalf("%d PVCs, want the clone alone", len(c.pvcs))
	}
	clone := c.pvcs[0]
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: *clone.ObjectMeta.DeepCopy(), Spec: clone.Spec}
	pvc.Namespace = ns
	if err := server.Client.Create(t.Context(), pvc); err != nil {
		t.Fatalf("its PVC: %v", err)
	}
	if from := pvc.Spec.DataSourceRef; from == nil || *from.APIGroup != v1alpha1.GroupName || from.Kind != v1alpha1.GoCacheKind || from.Name != "ci" {
		t.Errorf("the PVC is not filled from the cache: %+v", from)
	}
	if !slices.ContainsFunc(c.pod.Volumes, func(v corev1.Volume) bool { return v.Name == clone.Name }) {
		c.pod.Volumes = append(c.pod.Volumes, corev1.Volume{Name: clone.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: clone.Name},
		}})
	}
	builds := false
	for _, container := range c.pod.Containers {
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
	c.pod.AutomountServiceAccountToken = new(bool)
	pod := &corev1.Pod{Spec: c.pod}
	pod.Namespace, pod.GenerateName = ns, "runner-"
	if err := server.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Errorf("its pod: %v", err)
	}
}

// block is the only YAML block of a page that begins so.
func block(t *testing.T, page, begin string) map[string]any {
	t.Helper()
	for _, found := range yamlBlock.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(found[1], begin) {
			var of map[string]any
			if err := yaml.UnmarshalStrict([]byte(found[1]), &of); err != nil {
				t.Fatal(err)
			}
			return of
		}
	}
	t.Fatalf("no block begins with %q", begin)
	return nil
}

// into decodes a part of an object, without accepting unknown fields.
func into(t *testing.T, of map[string]any, to any, path ...string) {
	t.Helper()
	part, found, err := unstructured.NestedFieldNoCopy(of, path...)
	if err != nil || !found {
		t.Fatalf("no %s: %v", strings.Join(path, "."), err)
	}
	text, err := yaml.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, to); err != nil {
		t.Fatalf("%s: %v", strings.Join(path, "."), err)
	}
}
