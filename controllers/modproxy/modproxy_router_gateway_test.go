package modproxy

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/direct"
)

// installGatewayAPI does what the message asks for.
func installGatewayAPI(t *testing.T) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	crds := filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard")
	if _, err := envtest.InstallCRDs(server.Config, envtest.CRDInstallOptions{Paths: []string{
		filepath.Join(crds, "gateway.networking.k8s.io_httproutes.yaml"), filepath.Join(crds, "gateway.networking.k8s.io_gateways.yaml"),
	}}); err != nil {
		t.Fatal(err)
	}
}

// httpRoute of the proxy; nil: there is none.
func (w *world) httpRoute() *gatewayv1.HTTPRoute {
	w.t.Helper()
	var o gatewayv1.HTTPRoute
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-router"}, &o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return &o
}

// accept plays the Gateway's implementation.
func (w *world) accept() {
	w.t.Helper()
	o := w.httpRoute()
	status := gatewayv1.RouteParentStatus{ParentRef: o.Spec.ParentRefs[0], ControllerName: "example.com/stand-in"}
	for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
		status.Conditions = append(status.Conditions, metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: "Fine",
			ObservedGeneration: o.Generation, LastTransitionTime: metav1.Now()})
	}
	o.Status.Parents = []gatewayv1.RouteParentStatus{status}
	w.must(server.Client.Status().Update(w.t.Context(), o))
}

func (w *world) routeWeights() (all []int32) {
	w.t.Helper()
	for _, ref := range w.httpRoute().Spec.Rules[0].BackendRefs {
		all = append(all, *ref.Weight)
	}
	return all
}

// TestGatewayRouter goes from a cluster without the Gateway API to one whose
// Gateway accepts the HTTPRoute, through a quarantine, and back to HAProxy.
func TestGatewayRouter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Router = v1alpha1.ProxyRouter{Type: v1alpha1.RouterGateway, Gateway: &v1alpha1.GatewayRouter{
			ParentRef: v1alpha1.GatewayReference{Name: "edge"}, Hostnames: []string{"go.example.com"},
		}}
	})
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonGatewayAPIMissing, "install the CRDs of the Gateway API")
	installGatewayAPI(t)
	w.tick(2)
	w.condition(v1alpha1.RoutedCondition, metav1.ConditionFalse, v1alpha1.ReasonWeightsPending, "no Gateway has accepted it: is there a Gateway edge")
	if got := w.routeWeights(); len(got) != 2 || got[0] != 100 || got[1] != 100 {
		t.Fatalf("weights %v", got)
	}
	w.must(server.Client.Create(t.Context(), &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "edge"},
		Spec:       gatewayv1.GatewaySpec{GatewayClassName: "stand-in", Listeners: []gatewayv1.Listener{{Name: "web", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}},
	}))
	w.accept()
	w.tick(1)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
	w.weights(100, 100)
	if s := w.get().Status; s.URL != "http://go.example.com" || s.GOPROXY != s.URL+"|"+s.URL+"|"+s.URL {
		t.Errorf("published %q and %q", s.URL, s.GOPROXY)
	}
	if w.exists(&appsv1.Deployment{}, "goproxy-router") || w.exists(&corev1.Service{}, "goproxy-router") {
		t.Error("there is a router of another type")
	}

	w.startPod("blue")
	w.blue.wrong = true
	w.tick(3)
	w.condition(v1alpha1.RoutedCondition, metav1.ConditionFalse, v1alpha1.ReasonWeightsPending, "has not reported Accepted for its present generation yet")
	intent, _ := direct.Intent(w.httpRoute())
	if got := w.routeWeights(); got[0] != 0 || got[1] != 100 || intent.Servers["blue"].State != "down" {
		t.Errorf("with blue convicted: weights %v, intent %v", got, intent.Servers)
	}
	if w.exists(&corev1.Pod{}, "goproxy-blue-0") {
		t.Error("the pod of the convicted instance was not ended")
	}
	w.accept()
	w.tick(1)
	w.weights(0, 100)

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router = v1alpha1.ProxyRouter{} })
	w.settle()
	w.tick(1)
	w.weights(0, 100)
	if w.httpRoute() != nil || w.get().Status.HTTPRoute != "" {
		t.Error("the HTTPRoute was left")
	}
	if url := w.get().Status.URL; url != "http://goproxy-router."+w.namespace+".svc" {
		t.Errorf("published %q", url)
	}
}
