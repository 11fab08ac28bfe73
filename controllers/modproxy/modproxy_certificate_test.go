package modproxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/router/certificate"
)

// TestCertificate follows a Secret from missing to good, to bad, to good, and
// the router from HTTPS back to HTTP.
func TestCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reports := func(r certificate.Report) {
		w.certificates = []route.Certificate{{Replica: "router-0", Report: r}, {Replica: "router-1", Report: r}}
		w.tick(1)
	}
	const ready = v1alpha1.CertificateReadyCondition
	serves := certificate.Report{Fingerprint: "AB", NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}

	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Router.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "goproxy-tls"}}
	})
	w.certificates = []route.Certificate{{Replica: "router-0", Report: certificate.Report{Problem: "the Secret does not exist"}}}
	w.unready = true
	w.settle()
	w.tick(2)
	w.condition(ready, metav1.ConditionFalse, v1alpha1.ReasonCertificateRefused, "Secret goproxy-tls: the Secret does not exist")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCertificateRefused, "router-0 cannot serve")

	w.unready = false
	reports(serves)
	w.condition(ready, metav1.ConditionTrue, v1alpha1.ReasonCertificateServed, "All 2 replicas of the router serve the certificate of Secret goproxy-tls, valid until 2030-01-02")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "")
	if s := w.get().Status; s.URL != "https://goproxy-router."+w.namespace+".svc" || !strings.HasPrefix(s.GOPROXY, s.URL+"|"+s.URL+"/") {
		t.Errorf("published %q and %q", s.URL, s.GOPROXY)
	}
	pod := w.routerPod()
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == "goproxy-tls" && *v.Secret.Optional
	}) {
		t.Errorf("the Secret is not mounted, or a pod needs it to start: %+v", pod.Volumes)
	}

	w.recorded()
	old := serves
	old.Problem = "tls.crt and tls.key are no pair"
	reports(old)
	w.condition(ready, metav1.ConditionFalse, v1alpha1.ReasonCertificateRefused, "goes on with the certificate that is valid until 2030")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "")
	if recorded := w.recorded(); strings.Count(recorded, "CertificateRefused") != 1 {
		t.Errorf("events %q", recorded)
	}
	w.certificates[0] = route.Certificate{Replica: "router-0", Unreachable: "refused"}
	w.certificates[1].Problem = ""
	w.tick(1)
	w.condition(ready, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "router-0: refused")
	named := serves
	named.NameMismatch = "it is for example.com"
	reports(named)
	w.condition(ready, metav1.ConditionFalse, v1alpha1.ReasonCertificateNameMismatch, "it is for example.com")
	reports(serves)
	if recorded := w.recorded(); !strings.Contains(recorded, "CertificateAccepted") {
		t.Errorf("events %q", recorded)
	}

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Router.TLS = nil })
	w.settle()
	w.condition(ready, "", "", "")
	if url := w.get().Status.URL; !strings.HasPrefix(url, "http://") {
		t.Errorf("published %q", url)
	}
}

// routerPod is what the router's Deployment makes.
func (w *world) routerPod() corev1.PodSpec {
	w.t.Helper()
	var d appsv1.Deployment
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: haproxy.RouterName("goproxy")}, &d))
	return d.Spec.Template.Spec
}
