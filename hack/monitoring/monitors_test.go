package monitoring

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-tools/pkg/crd"
	crdmarkers "sigs.k8s.io/controller-tools/pkg/crd/markers"
	"sigs.k8s.io/controller-tools/pkg/loader"
	"sigs.k8s.io/controller-tools/pkg/markers"
	"sigs.k8s.io/yaml"

	// The types whose sources are read below.
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// schemas makes the schemas of kinds from the types of the Prometheus operator, as its
// CustomResourceDefinitions are made.
func schemas(t *testing.T, kinds ...string) map[string]*apiextensions.JSONSchemaProps {
	t.Helper()
	roots, err := loader.LoadRoots("github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1")
	if err != nil {
		t.Fatal(err)
	}
	registry := &markers.Registry{}
	if err := crdmarkers.Register(registry); err != nil {
		t.Fatal(err)
	}
	parser := &crd.Parser{Collector: &markers.Collector{Registry: registry}, Checker: &loader.TypeChecker{}}
	crd.AddKnownTypes(parser)
	for _, root := range roots {
		parser.NeedPackage(root)
	}
	all := map[string]*apiextensions.JSONSchemaProps{}
	for _, kind := range kinds {
		group := runtimeschema.GroupKind{Group: monitoringv1.SchemeGroupVersion.Group, Kind: kind}
		parser.NeedCRDFor(group, nil)
		made, ok := parser.CustomResourceDefinitions[group]
		if !ok || len(made.Spec.Versions) == 0 {
			t.Fatalf("the Prometheus operator has no kind %s", kind)
		}
		into := &apiextensions.JSONSchemaProps{}
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(made.Spec.Versions[0].Schema.OpenAPIV3Schema, into, nil); err != nil {
			t.Fatal(err)
		}
		all[kind] = into
	}
	return all
}

// problems are the reasons why an API server would refuse an object, and the fields that
// it would drop.
func problems(t *testing.T, properties *apiextensions.JSONSchemaProps, o map[string]any) []string {
	t.Helper()
	structural, err := schema.NewStructural(properties)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(properties)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range validation.ValidateCustomResource(nil, o, validator) {
		found = append(found, e.Error())
	}
	const budget = 1 << 40
	if rules := cel.NewValidator(structural, true, budget); rules != nil {
		broken, _ := rules.Validate(context.Background(), nil, structural, o, nil, budget)
		for _, e := range broken {
			found = append(found, e.Error())
		}
	}
	for _, dropped := range pruning.PruneWithOptions(o, structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		found = append(found, "unknown field "+dropped)
	}
	return found
}

// monitors are the objects of config/prometheus, with the metadata that it adds.
func monitors(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, file := range []string{"monitor.yaml", "pods.yaml", "alerts.yaml"} {
		data, err := os.ReadFile(filepath.Join(root, "config", "prometheus", file))
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			var o map[string]any
			object, err := yaml.YAMLToJSON([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(object, &o); err != nil {
				t.Fatal(err)
			}
			all = append(all, o)
		}
	}
	return all
}

func kindOf(o map[string]any) string {
	kind, _ := o["kind"].(string)
	return kind
}

// TestSchemas holds that an API server with the kinds of the Prometheus operator accepts
// the objects of config/prometheus, and that it would refuse wrong ones.
func TestSchemas(t *testing.T) {
	t.Parallel()
	kinds := []string{"ServiceMonitor", "PodMonitor", "PrometheusRule"}
	definitions := schemas(t, kinds...)
	var seen []string
	for _, o := range monitors(t) {
		kind := kindOf(o)
		if seen = append(seen, kind); definitions[kind] == nil {
			t.Errorf("no schema for kind %q", kind)
			continue
		}
		for _, problem := range problems(t, definitions[kind], o) {
			t.Errorf("%s: %s", kind, problem)
		}
	}
	for _, kind := range kinds {
		if !slices.Contains(seen, kind) {
			t.Errorf("config/prometheus has no %s", kind)
		}
	}
	for what, change := range map[string]func(spec map[string]any){
		"unknown field spec.endpoint": func(spec map[string]any) { spec["endpoint"] = "x" },
		"spec.selector":               func(spec map[string]any) { delete(spec, "selector") },
		"spec.endpoints[0].scheme":    func(spec map[string]any) { spec["endpoints"].([]any)[0].(map[string]any)["scheme"] = "ftp" },
	} {
		for _, o := range monitors(t) {
			if kindOf(o) != kinds[0] {
				continue
			}
			spec, _ := o["spec"].(map[string]any)
			change(spec)
			if found := strings.Join(problems(t, definitions[kinds[0]], o), "\n"); !strings.Contains(found, what) {
				t.Errorf("%q is not among the problems: %q", what, found)
			}
		}
	}
}
