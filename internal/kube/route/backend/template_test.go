package backend

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestTemplateOfTheRouter holds that the router's template replaces that of all
// pods field by field, and that the router keeps an account of its own: the token
// of another one would be mounted into its sidecar.
func TestTemplateOfTheRouter(t *testing.T) {
	p := &v1alpha1.ModProxy{}
	p.Name, p.Namespace = "goproxy", "ci"
	limit := func(memory string) *v1alpha1.Resources {
		return &v1alpha1.Resources{Limits: map[string]resource.Quantity{"memory": resource.MustParse(memory)}}
	}
	p.Spec.PodTemplate = &v1alpha1.PodTemplate{
		ServiceAccountName: "admin", PriorityClassName: "low", NodeSelector: map[string]string{"pool": "ci"}, Resources: limit("1Gi"), HelperResources: limit("3Gi"),
	}
	p.Spec.Router.PodTemplate = &v1alpha1.PodTemplate{
		PriorityClassName: "high", Resources: limit("2Gi"), Labels: map[string]string{"tier": "edge"},
		TopologySpreadConstraints: []v1alpha1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: "DoNotSchedule"}},
	}
	objects, err := haproxy.Objects(Maker{}.params(p, []route.Instance{{Name: "blue", Address: "10.0.0.1:3000"}}))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(objects, func(o client.Object) bool { _, ok := o.(*appsv1.Deployment); return ok })
	template := objects[i].(*appsv1.Deployment).Spec.Template
	if template.Labels["tier"] != "edge" {
		t.Errorf("the pods have the labels %v", template.Labels)
	}
	pod := template.Spec
	if pod.ServiceAccountName != "goproxy-router" || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("the router runs as %q, its token is mounted into every container: %v", pod.ServiceAccountName, pod.AutomountServiceAccountToken)
	}
	if pod.PriorityClassName != "high" || pod.NodeSelector["pool"] != "ci" || pod.Affinity == nil {
		t.Errorf("priority class %q, node selector %v, affinity %v", pod.PriorityClassName, pod.NodeSelector, pod.Affinity)
	}
	if diff := cmp.Diff(haproxy.Selector("goproxy"), pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels); diff != "" {
		t.Errorf("the pods that are counted (-want +got):\n%s", diff)
	}
	memory := map[string]string{}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		memory[c.Name] = c.Resources.Limits.Memory().String()
	}
	if diff := cmp.Diff(map[string]string{"agent": "3Gi", "haproxy": "2Gi"}, memory); diff != "" {
		t.Errorf("limits of memory (-want +got):\n%s", diff)
	}
}
