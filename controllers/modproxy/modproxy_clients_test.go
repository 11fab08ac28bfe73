package modproxy

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestClientAuth holds that the router mounts the Secret with the credentials of
// clients, that a Secret with which no client could authenticate is reported, and
// that no object but the Secret contains the password.
func TestClientAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Router.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "goproxy-tls"}}
		s.Router.ClientAuth = &v1alpha1.ClientAuth{SecretRef: v1alpha1.LocalReference{Name: "clients"}}
	})
	w.settle()
	stalled := func(message string) {
		t.Helper()
		w.tick(1)
		w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, message)
	}
	stalled("Secret clients does not exist")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "clients"}, Data: map[string][]byte{"username": []byte("ci")}}
	w.must(server.Client.Create(t.Context(), secret))
	stalled("has no key password")
	for password, message := range map[string]string{"s3cret\n": "contains white space", "s3c ret": "contains white space"} {
		secret.Data["password"] = []byte(password)
		w.must(server.Client.Update(t.Context(), secret))
		stalled(message)
	}
	secret.Data["password"], secret.Data["username"] = []byte("s3cret"), []byte("c:i")
	w.must(server.Client.Update(t.Context(), secret))
	stalled("contains a colon")
	secret.Data["username"] = []byte("ci")
	w.must(server.Client.Update(t.Context(), secret))
	w.tick(2)
	w.condition(v1alpha1.StalledCondition, "", "", "")

	pod := w.routerPod()
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == "clients" && *v.Secret.Optional && len(v.Secret.Items) == 2
	}) {
		t.Errorf("the Secret is not mounted, or a pod needs it to start: %+v", pod.Volumes)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "clients" })
		if mounted != (c.Name == "agent") {
			t.Errorf("container %s mounts the Secret: %v", c.Name, mounted)
		}
	}
	var config corev1.ConfigMap
	if !w.exists(&config, "goproxy-router-config") || !strings.Contains(config.Data["haproxy.cfg"], "status 401") || strings.Contains(config.Data["haproxy.cfg"], "s3cret") {
		t.Error("the configuration asks for no credentials, or contains them")
	}
	if text := w.recorded(); strings.Contains(text, "s3c") {
		t.Errorf("an event contains the password: %s", text)
	}
}
