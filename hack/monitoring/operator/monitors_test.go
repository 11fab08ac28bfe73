package operator

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	"github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root = "../../.."
	// golden is what the end-to-end tests configure Prometheus with.
	golden = "../testdata/prometheus.yml"
)

var update = flag.Bool("update", false, "write "+golden)

// objects are those of config/prometheus, as kubectl apply -k creates them.
func objects(t *testing.T) []map[string]any {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "config", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for _, r := range built.Resources() {
		o, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

func kindOf(o map[string]any) string {
	kind, _ := o["kind"].(string)
	return kind
}

// decode reads an object of a kind into its type, and refuses fields that it lacks.
func decode[T any](t *testing.T, o map[string]any) *T {
	t.Helper()
	data, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	into := new(T)
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatalf("%s: %v", kindOf(o), err)
	}
	return into
}

// TestConfiguration holds that the configuration of Prometheus in the end-to-end tests
// is the one that the Prometheus operator makes of the monitors.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	services, pods := map[string]*monitoringv1.ServiceMonitor{}, map[string]*monitoringv1.PodMonitor{}
	for _, o := range objects(t) {
		switch kindOf(o) {
		case "ServiceMonitor":
			m := decode[monitoringv1.ServiceMonitor](t, o)
			services[m.Namespace+"/"+m.Name] = m
		case "PodMonitor":
			m := decode[monitoringv1.PodMonitor](t, o)
			pods[m.Namespace+"/"+m.Name] = m
		case "PrometheusRule":
			for _, err := range operator.ValidateRule(decode[monitoringv1.PrometheusRule](t, o).Spec) {
				t.Error(err)
			}
		}
	}
	server := &monitoringv1.Prometheus{}
	server.Namespace, server.Name = "monitoring", "k8s"
	server.Spec.ServiceDiscoveryRole = ptr.To(monitoringv1.EndpointSliceRole)
	server.Spec.ScrapeInterval, server.Spec.EvaluationInterval = "30s", "30s"
	generator, err := prometheus.NewConfigGenerator(nil, server, prometheus.WithEndpointSliceSupport())
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset().CoreV1()
	made, err := generator.GenerateServerConfiguration(server, services, pods, nil, nil, assets.NewStoreBuilder(client, client), nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	made = append([]byte("# Made by the Prometheus operator of config/prometheus: see hack/monitoring/operator.\n"), made...)
	if *update {
		if err := os.WriteFile(golden, made, 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(golden); err != nil || string(got) != string(made) {
		t.Errorf("%s is not what the Prometheus operator makes of config/prometheus: run go test . -update here (%v)\n%s", golden, err, made)
	}
}
