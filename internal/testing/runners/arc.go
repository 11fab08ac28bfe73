package runners

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/internal/domain/goenv"
)

const arcPage = "runners/arc.md"

// values of the chart of a runner scale set that the page uses.
type values struct {
	GithubConfigURL    string `json:"githubConfigUrl"`
	GithubConfigSecret string `json:"githubConfigSecret"`
	ContainerMode      struct {
		Type string                            `json:"type"`
		Work *corev1.PersistentVolumeClaimSpec `json:"kubernetesModeWorkVolumeClaim"`
	} `json:"containerMode"`
	Template corev1.PodTemplateSpec `json:"template"`
}

// chart is what the chart makes of values, and what its controller makes of that.
func chart(t *testing.T, page, begin, mode string) Consumer {
	t.Helper()
	var v values
	into(t, Block(t, page, begin), &v)
	if v.ContainerMode.Type != mode {
		t.Fatalf("container mode %q, want %q", v.ContainerMode.Type, mode)
	}
	spec := &v.Template.Spec
	spec.RestartPolicy, spec.ServiceAccountName = corev1.RestartPolicyNever, "go-runners-no-permission"
	runner := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == "runner" })
	if runner < 0 {
		t.Fatal("no container runner")
	}
	if mode == "kubernetes" {
		spec.ServiceAccountName = "go-runners-kube-mode"
		c := &spec.Containers[runner]
		c.Env = append(c.Env, corev1.EnvVar{Name: "ACTIONS_RUNNER_CONTAINER_HOOKS", Value: "/home/runner/k8s/index.js"},
			corev1.EnvVar{Name: "ACTIONS_RUNNER_POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			corev1.EnvVar{Name: "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", Value: "true"})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "work", MountPath: "/home/runner/_work"})
		spec.Volumes = append([]corev1.Volume{{Name: "work", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: *v.ContainerMode.Work},
		}}}}, spec.Volumes...)
	}
	set := map[string]any{
		"apiVersion": "actions.github.com/v1alpha1", "kind": "AutoscalingRunnerSet", "metadata": map[string]any{"name": "go-runners"},
		"spec": map[string]any{"githubConfigUrl": v.GithubConfigURL, "githubConfigSecret": v.GithubConfigSecret, "template": plain(t, v.Template)},
	}
	return Consumer{Objects: []*unstructured.Unstructured{{Object: set}}, Pod: *spec, Steps: spec.Containers[runner], Level: Restricted}
}

// plain is a value as JSON has it.
func plain(t *testing.T, of any) (made map[string]any) {
	t.Helper()
	text, err := json.Marshal(of)
	if err == nil {
		err = json.Unmarshal(text, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// scaleSet runs the steps in the container of the runner.
func scaleSet(t *testing.T, page string) Consumer {
	t.Helper()
	c := chart(t, page, "# values\n", "")
	c.Pod.ServiceAccountName = "" // of the chart
	return c
}

// jobOfScaleSet is the pod that the runner's hooks create for a job, with the template
// that the runner mounts.
func jobOfScaleSet(t *testing.T, page string) Consumer {
	t.Helper()
	c := chart(t, page, "# values, a pod for each job\n", "kubernetes")
	templates := Block(t, page, "apiVersion: v1\nkind: ConfigMap\n")
	c.Objects = append(c.Objects, &unstructured.Unstructured{Object: templates})
	var template corev1.PodTemplateSpec
	if err := yaml.UnmarshalStrict([]byte(mounted(t, c, templates)), &template); err != nil {
		t.Fatal(err)
	}
	job := corev1.Container{
		Name: "job", Image: "golang", Command: []string{"tail"}, Args: []string{"-f", "/dev/null"},
		Env: []corev1.EnvVar{{Name: "GITHUB_ACTIONS", Value: "true"}, {Name: "CI", Value: "true"}},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "externals", MountPath: "/__e"}, {Name: "work", MountPath: "/__w"}, {Name: "github", MountPath: "/github"},
		},
	}
	own := slices.IndexFunc(template.Spec.Containers, func(c corev1.Container) bool { return c.Name == "$job" })
	if own < 0 || len(template.Spec.Containers) > 1 {
		t.Fatalf("containers of the template: %+v, want $job alone", template.Spec.Containers)
	}
	// Lists of these kinds are appended, all other fields replaced; the name and the
	// image are the workflow's.
	from := template.Spec.Containers[own]
	env, mounts := append(job.Env, from.Env...), append(job.VolumeMounts, from.VolumeMounts...)
	merge(t, &job, from, "name", "image")
	job.Env, job.VolumeMounts = env, mounts
	made := corev1.PodSpec{
		Containers: []corev1.Container{job}, RestartPolicy: corev1.RestartPolicyNever,
		SecurityContext: &corev1.PodSecurityContext{},
		InitContainers: []corev1.Container{{
			Name: "fs-init", Image: "actions-runner", Command: []string{"sh", "-c", "mkdir -p /mnt/externals"},
			SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(1001)), RunAsGroup: new(int64(1001))},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "externals", MountPath: "/mnt/externals"}, {Name: "work", MountPath: "/mnt/work"}, {Name: "github", MountPath: "/mnt/github"},
			},
		}},
	}
	volumes := template.Spec.Volumes
	for _, name := range []string{"externals", "github", "work"} {
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	merge(t, &made, template.Spec, "containers")
	made.Volumes = volumes
	c.Pod, c.Steps, c.Level = made, job, Baseline
	return c
}

// merge replaces the fields of an object by those that another one sets.
func merge[T any](t *testing.T, to *T, from T, except ...string) {
	t.Helper()
	fields, set := plain(t, to), plain(t, from)
	maps.DeleteFunc(set, func(name string, value any) bool { return value == nil || slices.Contains(except, name) })
	maps.Copy(fields, set)
	text, err := json.Marshal(fields)
	if err == nil {
		var made T
		err = json.Unmarshal(text, &made)
		*to = made
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mounted is the file of a ConfigMap that the runner names as the template of jobs.
func mounted(t *testing.T, c Consumer, of map[string]any) string {
	t.Helper()
	var file string
	for _, v := range c.Steps.Env {
		if v.Name == "ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE" {
			file = v.Value
		}
	}
	object := &unstructured.Unstructured{Object: of}
	for _, m := range c.Steps.VolumeMounts {
		key, below := strings.CutPrefix(file, m.MountPath+"/")
		for _, v := range c.Pod.Volumes {
			if below && v.Name == m.Name && v.ConfigMap != nil && v.ConfigMap.Name == object.GetName() {
				text, found, err := unstructured.NestedString(of, "data", key)
				if err != nil || !found {
					t.Fatalf("the ConfigMap has no key %s: %v", key, err)
				}
				return text
			}
		}
	}
	t.Fatalf("the runner does not mount the template %q", file)
	return ""
}

var (
	jobVolume  = regexp.MustCompile(`(?m)^ +volumes: \["(\S+):(\S+)"\]$`)
	jobOptions = regexp.MustCompile(`(?m)^ +options: ((?:-e \w+ ?)+)$`)
)

// dockerOfScaleSet is the pod of a runner with a Docker daemon, and the container that
// the daemon makes for a job: it has what is mounted beside the daemon, and those
// variables of the runner that the workflow names.
func dockerOfScaleSet(t *testing.T, page string) Consumer {
	t.Helper()
	c := chart(t, page, "# values, Docker in the pod\n", "")
	c.Pod.ServiceAccountName = ""
	c.Level = Privileged
	volume, options := jobVolume.FindStringSubmatch(page), jobOptions.FindStringSubmatch(page)
	daemon := slices.IndexFunc(c.Pod.InitContainers, func(c corev1.Container) bool { return c.Name == "dind" })
	if volume == nil || options == nil || daemon < 0 {
		t.Fatalf("volume %q, options %q, container dind %d", volume, options, daemon)
	}
	names := strings.Fields(strings.ReplaceAll(options[1], "-e ", ""))
	for _, name := range variables() {
		if !slices.Contains(names, name) {
			t.Errorf("the container of a job does not get %s, which ci-env may have", name)
		}
	}
	runner := c.Steps
	c.Steps = corev1.Container{Name: "job", Image: "golang", SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}}
	for _, m := range c.Pod.InitContainers[daemon].VolumeMounts {
		if m.MountPath == volume[1] {
			m.MountPath = volume[2]
			c.Steps.VolumeMounts = append(c.Steps.VolumeMounts, m)
		}
	}
	for _, from := range runner.EnvFrom {
		for _, name := range names {
			c.Steps.Env = append(c.Steps.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: from.ConfigMapRef.LocalObjectReference, Key: name, Optional: new(true),
			}}})
		}
	}
	return c
}

// variables are all that the ConfigMap ci-env may have.
func variables() (names []string) {
	all := goenv.Settings{
		MountPath: "/gocache", Modules: true, Build: true, Proxy: "http://proxy.invalid", PrivatePatterns: []string{"corp.invalid"},
		ChecksumDatabase: "off", Strict: true,
	}
	managed := all
	managed.ManagedProxy = true
	for _, s := range []goenv.Settings{all, managed} {
		names = slices.AppendSeq(names, maps.Keys(goenv.Online(s)))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
