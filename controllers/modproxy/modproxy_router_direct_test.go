package modproxy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

func behindService(s *v1alpha1.ModProxySpec) { s.Router.Type = v1alpha1.RouterService }

// routerService is the Service that clients use; empty: there is none.
func (w *world) routerService() *corev1.Service {
	w.t.Helper()
	var s corev1.Service
	w.must(client.IgnoreNotFound(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-router"}, &s)))
	return &s
}

// selected is the instance that the Service leads to.
func (w *world) selected() string { return w.routerService().Spec.Selector[v1alpha1.InstanceLabel] }

// startPod makes an instance's pod, which no controller does here.
func (w *world) startPod(instance string) {
	w.t.Helper()
	w.must(server.Client.Create(w.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy-" + instance + "-0",
			Labels: map[string]string{v1alpha1.ProxyLabel: "goproxy", v1alpha1.InstanceLabel: instance}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy", Image: "x"}}},
	}))
}

// TestServiceRouter: one instance serves, the other takes over when it dies,
// and when it is quarantined the pod is ended, once.
func TestServiceRouter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(behindService)
	w.settle()
	w.tick(2)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue serves; 2/2")
	w.weights(100, 0)
	if s := w.get().Status; w.selected() != "blue" || s.URL != "http://goproxy-router."+w.namespace+".svc" || s.GOPROXY != s.URL+"|"+s.URL+"|"+s.URL {
		t.Errorf("the Service leads to %q, published is %q", w.selected(), s.GOPROXY)
	}
	if w.exists(&appsv1.Deployment{}, "goproxy-router") {
		t.Error("there is a Deployment of a router")
	}

	w.startPod("blue")
	w.startPod("green")
	w.blue.down = true
	w.tick(3)
	w.weights(0, 100)
	if w.selected() != "green" || !w.exists(&corev1.Pod{}, "goproxy-blue-0") {
		t.Errorf("with blue dead the Service leads to %q", w.selected())
	}
	w.blue.down = false
	w.tick(30)
	w.weights(0, 100) // clients are not moved without need

	w.green.wrong = true
	w.tick(3)
	w.weights(100, 0)
	if w.selected() != "blue" || w.exists(&corev1.Pod{}, "goproxy-green-0") {
		t.Errorf("with green convicted the Service leads to %q; its pod is there: %v", w.selected(), w.exists(&corev1.Pod{}, "goproxy-green-0"))
	}
	w.startPod("green") // as its StatefulSet does
	w.tick(3)
	if !w.exists(&corev1.Pod{}, "goproxy-green-0") {
		t.Error("the pod that took the place of the one that was ended was ended, too")
	}
	w.blue.wrong = true
	w.tick(3)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAllInstancesQuarantined, "")
	if w.selected() != "" || len(w.routerService().Spec.Selector) != 2 {
		t.Errorf("with all convicted the Service selects %v", w.routerService().Spec.Selector)
	}
}

// TestRouterTypeChanges: from HAProxy to a Service and back under one address;
// what the other type needed goes once the new one serves, and a quarantine
// holds all the while.
func TestRouterTypeChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.wrong = true
	w.tick(3)
	before := w.routerService()

	w.edit(func(p *v1alpha1.ModProxy) { behindService(&p.Spec) })
	w.settle()
	if !w.quarantined("blue") || w.selected() != "green" {
		t.Errorf("the Service leads to %q", w.selected())
	}
	w.tick(1)
	w.weights(0, 100)
	if after := w.routerService(); after.UID != before.UID || after.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Error("the address has changed")
	}
	left := func() (names []string) {
		t.Helper()
		for name, o := range map[string]client.Object{
			"goproxy-router Deployment": &appsv1.Deployment{}, "goproxy-router ServiceAccount": &corev1.ServiceAccount{}, "goproxy-router Role": &rbacv1.Role{},
			"goproxy-router RoleBinding": &rbacv1.RoleBinding{}, "goproxy-router PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
			"goproxy-router-config ConfigMap": &corev1.ConfigMap{}, "goproxy-router-weights ConfigMap": &corev1.ConfigMap{},
		} {
			object, _, _ := strings.Cut(name, " ")
			err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: object}, o)
			if err == nil && o.GetDeletionTimestamp().IsZero() {
				names = append(names, name)
			} else if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
		}
		return names
	}
	if names := left(); len(names) > 0 {
		t.Errorf("HAProxy has left %q", names)
	}

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router.Type = v1alpha1.RouterHAProxy })
	w.settle()
	w.tick(1)
	w.weights(0, 100)
	if names := left(); len(names) != 7 {
		t.Errorf("HAProxy has only %q", names)
	}
	if after := w.routerService(); after.UID != before.UID || after.Spec.Selector["app.kubernetes.io/name"] != haproxy.Selector("goproxy")["app.kubernetes.io/name"] || w.selected() != "" {
		t.Errorf("the Service selects %v", after.Spec.Selector)
	}
	if !w.quarantined("blue") {
		t.Error("the quarantine was forgotten")
	}
}
