package modproxy

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestClientAuth holds that the router mounts the Secret with the credentials of
// clients, that a Secret with which no client could authenticate is reported, that one
// without consent is not mounted, and that no object but the Secret contains the password.
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
	mounted := func(want bool) {
		t.Helper()
		pod := w.routerPod()
		named := slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "clients" })
		asks := slices.ContainsFunc(pod.InitContainers, func(c corev1.Container) bool {
			return c.Name == "agent" && slices.Contains(c.Args, "--clients-dir=/etc/gocache/clients") &&
				slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "clients" })
		})
		if named != want || !asks {
			t.Errorf("the router mounts the Secret: %v, want %v; it serves only clients with credentials: %v", named, want, asks)
		}
	}
	stalled("Secret clients does not exist")
	mounted(false) // what is created under the name later may be meant for something else
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "clients"}, Data: map[string][]byte{"username": []byte("ci")}}
	w.must(server.Client.Create(t.Context(), secret))
	// A Secret that is not for clients of this router: it could be any of the
	// namespace, and the router would compare guesses at its password.
	refused := func(message string) {
		t.Helper()
		w.tick(1)
		w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, message)
		if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition); c != nil && strings.Contains(c.Message, "key password") {
			t.Errorf("the condition reports what a Secret contains that may not be used: %s", c.Message)
		}
		mounted(false)
	}
	host := "goproxy-router." + w.namespace + ".svc"
	refused("kubectl annotate secret clients --overwrite cache.gocache.dev/hosts=" + host)
	secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: "git.example.com"}
	w.must(server.Client.Update(t.Context(), secret))
	refused("may not be sent to " + host)
	secret.Annotations[v1alpha1.HostsAnnotation] += "," + host
	w.must(server.Client.Update(t.Context(), secret))
	stalled("has no key password")
	mounted(true)
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

	// One that is put in its place has to consent as well.
	w.must(server.Client.Delete(t.Context(), secret))
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "clients"}, Data: secret.Data}
	w.must(server.Client.Create(t.Context(), other))
	refused("has no annotation")
	other.Annotations = secret.Annotations
	w.must(server.Client.Update(t.Context(), other))
	w.tick(2)
	w.condition(v1alpha1.StalledCondition, "", "", "")

	mounted(true)
	pod := w.routerPod()
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == "clients" && *v.Secret.Optional && len(v.Secret.Items) == 2
	}) {
		t.Errorf("the Secret is not mounted, or a pod needs it to start: %+v", pod.Volumes)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		mounts := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "clients" })
		if mounts != (c.Name == "agent") {
			t.Errorf("container %s mounts the Secret: %v", c.Name, mounts)
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
