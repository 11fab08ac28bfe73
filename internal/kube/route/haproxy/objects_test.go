package haproxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

func sampleParams() haproxy.Params {
	return haproxy.Params{
		Name: "goproxy", Namespace: "ci", Labels: map[string]string{"team": "build"}, Instances: sampleConfig().Instances,
		Replicas: 2, HAProxyImage: "example.com/haproxy:2.6", RouterImage: "example.com/operator:1",
		RunAsUser: ptr.To(int64(65532)), RunAsGroup: ptr.To(int64(65532)), FSGroup: ptr.To(int64(65532)),
	}
}

func objects(t *testing.T, p haproxy.Params) []client.Object {
	t.Helper()
	all, err := haproxy.Objects(p)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find[T client.Object](t *testing.T, all []client.Object) T {
	t.Helper()
	i := slices.IndexFunc(all, func(o client.Object) bool { _, ok := o.(T); return ok })
	if i < 0 {
		var zero T
		t.Fatalf("there is no %T", zero)
	}
	return all[i].(T)
}

// TestURL holds the address that clients are given, and the port that it implies.
func TestURL(t *testing.T) {
	for secret, want := range map[string]struct {
		url  string
		port int32
	}{
		"":            {"http://goproxy-router.ci.svc", 80},
		"goproxy-tls": {"https://goproxy-router.ci.svc", 443},
	} {
		p := sampleParams()
		p.TLSSecret = secret
		if url, port := p.URL(), p.ServicePort(); url != want.url || port != want.port {
			t.Errorf("with TLS Secret %q: %s, port %d; want %s, port %d", secret, url, port, want.url, want.port)
		}
		if got := find[*corev1.Service](t, objects(t, p)).Spec.Ports[0].Port; got != want.port {
			t.Errorf("with TLS Secret %q: the Service has port %d, want %d", secret, got, want.port)
		}
		p.Service.Port = 8081
		if got := find[*corev1.Service](t, objects(t, p)).Spec.Ports[0].Port; got != 8081 || p.URL() != want.url+":8081" {
			t.Errorf("with TLS Secret %q and port 8081: %s, and the Service has port %d", secret, p.URL(), got)
		}
		p.Service.Port = want.port
		if p.URL() != want.url {
			t.Errorf("with TLS Secret %q and the default port by its number: %s", secret, p.URL())
		}
	}
}

func TestObjectsGolden(t *testing.T) {
	p := sampleParams()
	p.TLSSecret, p.ClientsSecret = "goproxy-tls", "goproxy-clients"
	p.Network = &haproxy.Network{Clients: netpolicy.AdmitAll([]int32{haproxy.ClientPort}), ManagerNamespace: "gocache-system"}
	var got strings.Builder
	for _, object := range objects(t, p) {
		if cm, ok := object.(*corev1.ConfigMap); ok {
			cm.Data["haproxy.cfg"] = "(see haproxy.cfg)\n"
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n" + string(text))
	}
	golden := filepath.Join("testdata", "objects.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the objects differ from %s; set UPDATE_GOLDEN=1 to accept (-want +got):\n%s", golden, diff)
	}
}

// TestPodsAreRestricted holds the Deployment against the Pod Security
// Standard "restricted" and against our own stricter rules.
func TestPodsAreRestricted(t *testing.T) {
	spec := find[*appsv1.Deployment](t, objects(t, sampleParams())).Spec.Template.Spec
	if !ptr.Deref(spec.SecurityContext.RunAsNonRoot, false) ||
		spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context %+v", spec.SecurityContext)
	}
	if spec.HostNetwork || spec.HostPID || spec.HostIPC || ptr.Deref(spec.AutomountServiceAccountToken, true) {
		t.Error("the pod shares something with its host, or mounts a token everywhere")
	}
	for _, volume := range spec.Volumes {
		if volume.ConfigMap == nil && volume.Projected == nil && volume.Secret == nil && volume.EmptyDir == nil {
			t.Errorf("volume %s is of a kind that is not allowed", volume.Name)
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		sc := c.SecurityContext
		if ptr.Deref(sc.AllowPrivilegeEscalation, true) || !ptr.Deref(sc.ReadOnlyRootFilesystem, false) ||
			!slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(sc.Capabilities.Add) > 0 {
			t.Errorf("container %s: %+v", c.Name, sc)
		}
		if c.ReadinessProbe == nil || c.LivenessProbe == nil {
			t.Errorf("container %s has no probes", c.Name)
		}
		mountsToken := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "token" })
		if mountsToken != (c.Name == "agent") {
			t.Errorf("container %s mounts the token: %v", c.Name, mountsToken)
		}
	}
}

func TestTheSidecarMayWatchOneConfigMapOnly(t *testing.T) {
	all := objects(t, sampleParams())
	rules := find[*rbacv1.Role](t, all).Rules
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"},
		ResourceNames: []string{haproxy.WeightsName("goproxy")}, Verbs: []string{"get", "list", "watch"}}}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Error(diff)
	}
	sidecar := find[*appsv1.Deployment](t, all).Spec.Template.Spec.InitContainers[0]
	if !slices.Contains(sidecar.Args, "--configmap="+haproxy.WeightsName("goproxy")) {
		t.Errorf("the sidecar's arguments: %v", sidecar.Args)
	}
}

func TestWhatRollsTheRouter(t *testing.T) {
	annotations := func(change func(*haproxy.Params)) map[string]string {
		p := sampleParams()
		change(&p)
		return find[*appsv1.Deployment](t, objects(t, p)).Spec.Template.Annotations
	}
	base := annotations(func(*haproxy.Params) {})
	for name, change := range map[string]func(*haproxy.Params){
		"an instance more": func(p *haproxy.Params) {
			p.Instances = append(p.Instances, haproxy.Instance{Name: "x", Address: "10.0.0.1:1"})
		},
		"another address":       func(p *haproxy.Params) { p.Instances[0].Address = "10.0.0.9:1" },
		"a standby made active": func(p *haproxy.Params) { p.Instances[2].Standby = false },
		"answers passed":        func(p *haproxy.Params) { p.PassModules = true },
		"credentials at all":    func(p *haproxy.Params) { p.ClientsSecret = "s" },
		"a certificate at all":  func(p *haproxy.Params) { p.TLSSecret = "s" },
	} {
		if cmp.Equal(base, annotations(change)) {
			t.Errorf("%s does not roll the router", name)
		}
	}
	if !cmp.Equal(base, annotations(func(p *haproxy.Params) { p.Replicas = 3 })) {
		t.Error("scaling rolls the router")
	}
}

func TestSelectorsMatch(t *testing.T) {
	all := objects(t, sampleParams())
	labels := find[*appsv1.Deployment](t, all).Spec.Template.Labels
	for name, selector := range map[string]map[string]string{
		"service": find[*corev1.Service](t, all).Spec.Selector,
		"budget":  find[*policyv1.PodDisruptionBudget](t, all).Spec.Selector.MatchLabels,
		"observe": haproxy.Selector("goproxy"),
	} {
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s selects %s=%s, the pods have %q", name, key, value, labels[key])
			}
		}
	}
	if labels["team"] != "build" {
		t.Errorf("the caller's labels are missing: %v", labels)
	}
	p := sampleParams()
	p.Replicas = 1
	for _, object := range objects(t, p) {
		if _, ok := object.(*policyv1.PodDisruptionBudget); ok {
			t.Error("a budget for a single replica would only block drains")
		}
	}
}

func TestInstanceServicePublishesPodsThatAreNotReady(t *testing.T) {
	service := haproxy.InstanceService("ci", "goproxy-blue", nil, map[string]string{"a": "b"}, 8080, 3000)
	if !service.Spec.PublishNotReadyAddresses || service.Spec.ClusterIP == corev1.ClusterIPNone || service.Spec.Ports[0].TargetPort.IntValue() != 3000 {
		t.Errorf("%+v", service.Spec)
	}
}
