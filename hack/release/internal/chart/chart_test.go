package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

const (
	root   = "../../../.."
	digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// dev is the chart of the work tree: its version is the one that the
// kustomizations have before a release.
func dev() Options { return Options{Root: root, Version: "dev", Repository: "gocache.dev/operator"} }

func load(t *testing.T, o Options) *chart.Chart {
	t.Helper()
	files, err := Files(o)
	if err != nil {
		t.Fatal(err)
	}
	var buffered []*loader.BufferedFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		buffered = append(buffered, &loader.BufferedFile{Name: name, Data: files[name]})
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// render is what helm template prints, as objects.
func render(t *testing.T, c *chart.Chart, namespace, values string) []object {
	t.Helper()
	objects, err := tryRender(t, c, namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func tryRender(t *testing.T, c *chart.Chart, namespace, values string) ([]object, error) {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(values), &v); err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: "gocache", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	texts, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if !strings.HasSuffix(name, ".yaml") || strings.TrimSpace(texts[name]) == "" {
			continue
		}
		var o object
		if err := yaml.UnmarshalStrict([]byte(texts[name]), &o); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, texts[name])
		}
		objects = append(objects, o)
	}
	return objects, nil
}

func kustomize(t *testing.T, folder string) []object {
	t.Helper()
	objects, err := Kustomize(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// byName keys objects, in a form in which numbers are compared by value.
func byName(t *testing.T, objects []object) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var plain any
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Fatal(err)
		}
		all[o.kind()+" "+o.name()] = plain
	}
	if len(all) != len(objects) {
		t.Fatalf("%d objects with %d names", len(objects), len(all))
	}
	return all
}

// TestSameAsKustomize: with default values both ways install the same objects.
func TestSameAsKustomize(t *testing.T) {
	want := byName(t, slices.Concat(kustomize(t, "default"), kustomize(t, "prometheus"), kustomize(t, "push")))
	if want["Namespace "+namespace] == nil || len(want) < 15 {
		t.Fatalf("config/default has changed more than this test knows: %v", slices.Sorted(maps.Keys(want)))
	}
	delete(want, "Namespace "+namespace)
	got := byName(t, render(t, load(t, dev()), namespace, "{crds: {keep: false}, serviceMonitor: {enabled: true}, podMonitors: {enabled: true}, prometheusRule: {enabled: true}, pushWebhooks: {enabled: true}}"))
	// config/push leaves this argument to the Deployment of config/default.
	manager := object(got["Deployment gocache-manager"].(map[string]any))      //nolint:forcetypeassert // byName made it
	containers := manager.at("spec", "template", "spec")["containers"].([]any) //nolint:forcetypeassert // of a Deployment
	container := containers[0].(map[string]any)                                //nolint:forcetypeassert // of a Deployment
	args := container["args"].([]any)                                          //nolint:forcetypeassert // of a container
	if i := slices.Index(args, any("--push-bind-address=:9445")); i < 0 {
		t.Error("the manager does not receive push webhooks")
	} else {
		container["args"] = slices.Delete(args, i, i+1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kustomize (-) and the chart (+) differ:\n%s", diff)
	}
}

// TestCRDsAreKept: removing the chart removes no object of a user.
func TestCRDsAreKept(t *testing.T) {
	var crds int
	for _, o := range render(t, load(t, dev()), namespace, "{}") {
		kept := o.at("metadata", "annotations")["helm.sh/resource-policy"] == "keep"
		if o.kind() == "CustomResourceDefinition" {
			crds++
		}
		if kept != (o.kind() == "CustomResourceDefinition") {
			t.Errorf("%s %s is kept at uninstall: %v", o.kind(), o.name(), kept)
		}
	}
	if crds < 3 {
		t.Errorf("%d CRDs", crds)
	}
	for _, o := range render(t, load(t, dev()), namespace, "{crds: {install: false}}") {
		if o.kind() == "CustomResourceDefinition" {
			t.Errorf("%s is installed", o.name())
		}
	}
}

// TestValues sets every value, and finds each in the one object it is for.
func TestValues(t *testing.T) {
	c := load(t, Options{Root: root, Version: "v1.2.3", Repository: "registry.example.com/operator", Digest: digest})
	if c.Metadata.Version != "1.2.3" || c.Metadata.AppVersion != "v1.2.3" {
		t.Errorf("versions %s and %s", c.Metadata.Version, c.Metadata.AppVersion)
	}
	objects := render(t, c, "elsewhere", `
imagePullSecrets: [{name: pull}]
replicas: 2
resources: {limits: {memory: 1Gi}}
goMemoryLimit: 800MiB
images: {toolchain: "mirror.example.com/golang:{version}", haproxy: mirror.example.com/haproxy:3, athens: mirror.example.com/athens:1}
watchNamespaces: [one, two]
extraArgs: [--zap-log-level=debug]
extraEnv: [{name: EXTRA, value: "1"}]
serviceAccount: {annotations: {account: one}}
podAnnotations: {annotated: "yes"}
podLabels: {labelled: "yes"}
nodeSelector: {disk: fast}
tolerations: [{key: only, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: high
networkPolicy: {enabled: false}
admissionPolicy: {enabled: false}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
podMonitors: {enabled: true, labels: {pods: scraped}}
pushWebhooks: {enabled: true, certificateSecret: push-tls}
prometheusRule: {enabled: true, labels: {rules: loaded}, runbookBase: "https://wiki.example.com/"}
`)
	text := map[string]string{}
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text[o.kind()] += string(data)
		if strings.Contains(string(data), namespace) {
			t.Errorf("%s %s names the namespace of config/default", o.kind(), o.name())
		}
	}
	image := "registry.example.com/operator:v1.2.3@" + digest
	for kind, texts := range map[string][]string{
		"Deployment": {
			"image: " + image, "value: " + image, "namespace: elsewhere", "app.kubernetes.io/version: v1.2.3", "name: pull", "replicas: 2",
			"memory: 1Gi", "800MiB", "mirror.example.com/golang:{version}", "mirror.example.com/haproxy:3", "ATHENS_IMAGE", "--watch-namespace=one,two",
			"--zap-log-level=debug", "name: EXTRA", "annotated: \"yes\"", "labelled: \"yes\"", "disk: fast", "key: only", "nodeAffinity", "maxSkew: 1", "priorityClassName: high",
			"kubectl.kubernetes.io/default-container", "--leader-elect",
			"--push-bind-address=:9445", "--push-cert-dir=/push-certificate", "mountPath: /push-certificate", "secretName: push-tls",
		},
		"ServiceAccount": {"account: one"},
		"ServiceMonitor": {"release: prometheus", "namespace: elsewhere"},
		"PodMonitor":     {"pods: scraped", "namespace: elsewhere"},
		"Service":        {"targetPort: 9445", "namespace: elsewhere"},
		"PrometheusRule": {"rules: loaded", "runbook_url: https://wiki.example.com/operate/full-volume.md"},
	} {
		for _, want := range texts {
			if !strings.Contains(text[kind], want) {
				t.Errorf("%s without %q:\n%s", kind, want, text[kind])
			}
		}
	}
	if text["NetworkPolicy"] != "" || text["ValidatingAdmissionPolicy"] != "" || text["ValidatingAdmissionPolicyBinding"] != "" {
		t.Error("a policy is there that was turned off")
	}
}

func TestSchemaRefuses(t *testing.T) {
	c := load(t, dev())
	for _, values := range []string{
		"{replica: 2}", "{replicas: many}", "{replicas: -1}", "{image: {digest: abc}}", "{image: {repo: x}}", "{image: {pullPolicy: Sometimes}}",
		"{pushWebhooks: {enabled: 1}}", "{pushWebhooks: {port: 1}}", "{watchNamespaces: one}", "{watchNamespaces: [One]}", "{crds: {keep: 1}}", "{extraArgs: [x]}", "{goMemoryLimit: 200Mo}", "{goMemoryLimit: 200Mi}", "{imagePullSecrets: [pull]}",
	} {
		if _, err := tryRender(t, c, namespace, values); err == nil {
			t.Errorf("%s is accepted", values)
		}
	}
	for _, values := range []string{"{goMemoryLimit: '209715200'}", "{goMemoryLimit: 209715200B}", "{goMemoryLimit: 200MiB}", "{goMemoryLimit: 1TiB}"} {
		if _, err := tryRender(t, c, namespace, values); err != nil {
			t.Errorf("%s is refused: %v", values, err)
		}
	}
}

// TestEveryValueIsDescribed compares values.yaml with its schema, both ways.
func TestEveryValueIsDescribed(t *testing.T) {
	read := func(name string, into any) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(root, "config", "chart", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	type schema struct {
		Description string
		Properties  map[string]json.RawMessage
	}
	var values map[string]any
	var top schema
	read("values.yaml", &values)
	read("values.schema.json", &top)
	var compare func(path string, values map[string]any, s schema)
	compare = func(path string, values map[string]any, s schema) {
		for key, raw := range s.Properties {
			var property schema
			if err := json.Unmarshal(raw, &property); err != nil {
				t.Fatal(err)
			}
			if property.Description == "" {
				t.Errorf("%s%s has no description in values.schema.json", path, key)
			}
			value, ok := values[key]
			if !ok && path+key != "global" {
				t.Errorf("%s%s has no default in values.yaml", path, key)
			}
			if below, ok := value.(map[string]any); ok && len(property.Properties) > 0 {
				compare(path+key+".", below, property)
			}
		}
		for key := range values {
			if s.Properties[key] == nil {
				t.Errorf("%s%s is in values.yaml and not in its schema", path, key)
			}
		}
	}
	compare("", values, top)
}

// TestWriteRefusesOlderChart: files of an older chart would be installed too.
func TestWriteRefusesOlderChart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "chart")
	if err := Write(dir, dev()); err != nil {
		t.Fatal(err)
	}
	if _, err := loader.Load(filepath.Join(dir, "values.yaml")); err == nil {
		t.Error("values.yaml alone is a chart")
	}
	if err := Write(dir, dev()); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("written over: %v", err)
	}
}
