package runners

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// Consumer is a pod as a CI system makes it from a page, and the PVCs
// that the system makes beside it.
type Consumer struct {
	Pod  corev1.PodSpec
	PVCs []corev1.PersistentVolumeClaimTemplate
	// Baseline: the page does not promise Pod Security "restricted".
	Baseline bool
}

// Systems are how the CI system of each page makes a pod: from the name of the page to
// a function of its text.
var Systems = map[string]func(*testing.T, string) Consumer{
	"arc.md": func(t *testing.T, page string) (c Consumer) {
		into(t, Block(t, page, "# values\n"), &c.Pod, "template", "spec")
		return c
	},
	"gitlab.md": func(t *testing.T, page string) (c Consumer) {
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
		if err := yaml.UnmarshalStrict(merged, &c.Pod); err != nil {
			t.Fatal(err)
		}
		c.Baseline = true
		return c
	},
	"tekton.md": func(t *testing.T, page string) (c Consumer) {
		run := Block(t, page, "apiVersion: tekton.dev/v1\n")
		into(t, run, &c.Pod, "spec", "podTemplate")
		into(t, run, &c.Pod.Containers, "spec", "taskSpec", "steps")
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
				c.PVCs = append(c.PVCs, *w.Template)
			}
		}
		for i := range c.Pod.Containers {
			step := &c.Pod.Containers[i]
			step.EnvFrom, step.SecurityContext = template.EnvFrom, template.SecurityContext
			step.WorkingDir = "/workspace/source"
			for _, w := range declared {
				if slices.ContainsFunc(c.PVCs, func(p corev1.PersistentVolumeClaimTemplate) bool { return p.Name == w.Name }) {
					step.VolumeMounts = append(step.VolumeMounts, corev1.VolumeMount{Name: w.Name, MountPath: w.MountPath})
				}
			}
		}
		return c
	},
	"jenkins.md": func(t *testing.T, page string) (c Consumer) {
		into(t, Block(t, page, "apiVersion: v1\n"), &c.Pod, "spec")
		return c
	},
	"argo-workflows.md": func(t *testing.T, page string) (c Consumer) {
		workflow := Block(t, page, "apiVersion: argoproj.io/v1alpha1\n")
		c.Pod.SecurityContext = &corev1.PodSecurityContext{}
		into(t, workflow, c.Pod.SecurityContext, "spec", "securityContext")
		into(t, workflow, &c.PVCs, "spec", "volumeClaimTemplates")
		var templates []struct {
			Name      string
			Container corev1.Container
		}
		into(t, workflow, &templates, "spec", "templates")
		for _, template := range templates {
			template.Container.Name = "main"
			c.Pod.Containers = append(c.Pod.Containers, template.Container)
		}
		return c
	},
	"buildkite.md": func(t *testing.T, page string) (c Consumer) {
		into(t, Block(t, page, "apiVersion: v1\n"), &c.Pod, "template", "spec")
		return c
	},
}

// Block is the only YAML block of a page that begins so.
func Block(t *testing.T, page, begin string) map[string]any {
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
