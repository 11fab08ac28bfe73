package runners

import (
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// System is a way in which a CI system makes pods from a page.
type System struct {
	Name string
	// Page below docs/ci.
	Page string
	// Make makes the pod of a job from the text of the page.
	Make func(*testing.T, string) Consumer
}

// Consumer is a pod as a CI system makes it, and what the system makes it from.
type Consumer struct {
	// Objects that the user creates, or a chart of the system does from the user's values.
	Objects []*unstructured.Unstructured
	Pod     corev1.PodSpec
	// PVCs that the system makes beside the pod.
	PVCs []corev1.PersistentVolumeClaimTemplate
	// Steps is the container in which the steps of a job run: one of the pod, or one
	// that a daemon in the pod makes.
	Steps corev1.Container
	// Level is the strictest level of Pod Security that the page promises.
	Level string
}

// Levels of Pod Security.
const (
	Restricted = "restricted"
	Baseline   = "baseline"
	Privileged = "privileged"
)

// User is the uid of the steps.
func (c Consumer) User() int64 {
	if s := c.Steps.SecurityContext; s != nil && s.RunAsUser != nil {
		return *s.RunAsUser
	}
	if s := c.Pod.SecurityContext; s != nil && s.RunAsUser != nil {
		return *s.RunAsUser
	}
	return 0
}

// Systems are those of all pages.
var Systems = []System{
	{"arc", arcPage, scaleSet},
	{"arc-job", arcPage, jobOfScaleSet},
	{"arc-docker", arcPage, dockerOfScaleSet},
	{"gitlab", "runners/gitlab.md", gitlab},
	{"tekton", "runners/tekton.md", tekton},
	{"jenkins", "runners/jenkins.md", func(t *testing.T, page string) Consumer {
		return fromTemplate(t, Block(t, page, "apiVersion: v1\nkind: Pod\n"), "spec")
	}},
	{"argo-workflows", "runners/argo-workflows.md", argo},
	{"buildkite", "runners/buildkite.md", func(t *testing.T, page string) Consumer {
		return fromTemplate(t, Block(t, page, "apiVersion: v1\nkind: PodTemplate\n"), "template", "spec")
	}},
	{"job", "job.md", func(t *testing.T, page string) Consumer {
		return fromTemplate(t, Block(t, page, "apiVersion: batch/v1\nkind: Job\n"), "spec", "template", "spec")
	}},
	{"statefulset", "statefulset.md", func(t *testing.T, page string) Consumer {
		object := Block(t, page, "apiVersion: apps/v1\nkind: StatefulSet\n")
		c := fromTemplate(t, object, "spec", "template", "spec")
		into(t, object, &c.PVCs, "spec", "volumeClaimTemplates")
		return c
	}},
}

// fromTemplate is an object with a pod of one container.
func fromTemplate(t *testing.T, object map[string]any, path ...string) Consumer {
	t.Helper()
	c := Consumer{Objects: []*unstructured.Unstructured{{Object: object}}, Level: Restricted}
	into(t, object, &c.Pod, path...)
	c.Steps = c.Pod.Containers[0]
	return c
}

func gitlab(t *testing.T, page string) (c Consumer) {
	t.Helper()
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
	c.Steps, c.Level = c.Pod.Containers[0], Baseline
	return c
}

func tekton(t *testing.T, page string) Consumer {
	t.Helper()
	run := Block(t, page, "apiVersion: tekton.dev/v1\n")
	c := Consumer{Objects: []*unstructured.Unstructured{{Object: run}}, Level: Restricted}
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
		switch {
		case w.Template != nil:
			w.Template.Name = w.Name
			c.PVCs = append(c.PVCs, *w.Template)
		case w.EmptyDir != nil:
			c.Pod.Volumes = append(c.Pod.Volumes, corev1.Volume{Name: w.Name, VolumeSource: corev1.VolumeSource{EmptyDir: w.EmptyDir}})
		}
	}
	for i := range c.Pod.Containers {
		step := &c.Pod.Containers[i]
		step.EnvFrom, step.SecurityContext = template.EnvFrom, template.SecurityContext
		for _, w := range declared {
			path := cmp.Or(w.MountPath, "/workspace/"+w.Name)
			step.WorkingDir = strings.ReplaceAll(step.WorkingDir, "$(workspaces."+w.Name+".path)", path)
			step.VolumeMounts = append(step.VolumeMounts, corev1.VolumeMount{Name: w.Name, MountPath: path})
		}
	}
	// The steps run one after the other: the first makes the checkout.
	c.Steps = c.Pod.Containers[len(c.Pod.Containers)-1]
	if first := c.Pod.Containers[0]; len(first.Command) < 2 || first.Command[1] != "clone" || first.WorkingDir != c.Steps.WorkingDir {
		t.Errorf("no step before the test clones a repository into %s", c.Steps.WorkingDir)
	}
	return c
}

func argo(t *testing.T, page string) Consumer {
	t.Helper()
	workflow := Block(t, page, "apiVersion: argoproj.io/v1alpha1\n")
	c := Consumer{Objects: []*unstructured.Unstructured{{Object: workflow}}, Level: Restricted}
	c.Pod.SecurityContext = &corev1.PodSecurityContext{}
	into(t, workflow, c.Pod.SecurityContext, "spec", "securityContext")
	into(t, workflow, &c.PVCs, "spec", "volumeClaimTemplates")
	var templates []struct {
		Name   string
		Inputs struct {
			Artifacts []struct {
				Name, Path string
				Git        struct{ Repo, Revision string }
			}
		}
		Container corev1.Container
	}
	into(t, workflow, &templates, "spec", "templates")
	for _, template := range templates {
		made := template.Container
		made.Name = "main"
		for _, a := range template.Inputs.Artifacts { // fetched by an init container of Argo's
			c.Pod.Volumes = append(c.Pod.Volumes, corev1.Volume{Name: a.Name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
			made.VolumeMounts = append(made.VolumeMounts, corev1.VolumeMount{Name: a.Name, MountPath: a.Path})
		}
		c.Pod.Containers = append(c.Pod.Containers, made)
	}
	c.Steps = c.Pod.Containers[0]
	return c
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
