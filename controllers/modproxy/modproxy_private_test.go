package modproxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/mounts"
)

// versionControl returns the container that fetches; nil: there is none.
func versionControl(pod corev1.PodSpec) *corev1.Container {
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == "version-control" })
	if i < 0 {
		return nil
	}
	return &pod.Containers[i]
}

// TestVersionControl holds that private modules are fetched by a container of its
// own, which alone has the credentials, and that the server asks it; that each input
// which is missing, or may not be used, is named; and that a correction counts.
func TestVersionControl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Server = &v1alpha1.ProxyServer{Env: []v1alpha1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://out.example.com:3128"}, {Name: "GODEBUG", Value: "x=1"}}}
		s.PrivateModules = &v1alpha1.ProxyPrivateModules{
			PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.corp.example.com/team", "*.internal.example.com"}},
			VersionControl: &v1alpha1.ProxyVersionControl{
				SecretRef: &v1alpha1.LocalReference{Name: "git"}, CacheSize: ptr.To(resource.MustParse("1Gi")),
			},
		}
	})
	stalled := func(reason, message string) {
		t.Helper()
		w.settle()
		w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, reason, message)
	}
	stalled(v1alpha1.ReasonSourceNotFound, "Private modules are fetched without spec.privateModules.versionControl.secretRef: Secret git does not exist")
	server1, agent, pod := w.pod("goproxy-blue")
	command := strings.Join(server1.Command, " ")
	if !strings.Contains(command, "--version-control http://127.0.0.1:9105 --private-modules git.corp.example.com/team,*.internal.example.com") {
		t.Errorf("without the Secret private modules go elsewhere: %s", command)
	}
	if c := versionControl(pod); c == nil || slices.Contains(c.Command, "--secret") {
		t.Fatalf("the container is %+v", c)
	}

	_, identity, err := gitserver.Key()
	w.must(err)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "git"}, StringData: map[string]string{"other": "x"}}
	w.must(server.Client.Create(t.Context(), secret))
	stalled(v1alpha1.ReasonSourceNotFound, "Secret git has neither the key netrc, nor username and password, nor identity and known_hosts")
	update := func(key, value string, annotations map[string]string) {
		t.Helper()
		secret.StringData, secret.Annotations = map[string]string{key: value}, annotations
		w.must(server.Client.Update(t.Context(), secret))
	}
	update("identity", "no key", nil)
	stalled(v1alpha1.ReasonSourceNotFound, "Secret git has the key identity and no key known_hosts")
	update("known_hosts", "git.corp.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIw8pBOKLrCJLWx3q5A8LqWQWkXvHOUVQpwI7nLFaLOM\n", nil)
	stalled(v1alpha1.ReasonSourceNotFound, "no private key without a passphrase")
	update("identity", string(identity), nil)
	stalled(v1alpha1.ReasonSecretRefused, "kubectl annotate secret git --overwrite cache.gocache.dev/hosts=git.corp.example.com")
	update("password", "s3cret", map[string]string{v1alpha1.HostsAnnotation: "git.corp.example.com"})
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "")

	server1, agent, pod = w.pod("goproxy-blue")
	c := versionControl(pod)
	if want := "/tools/gocache-agent vcs --listen 127.0.0.1:9105 --modules git.corp.example.com/team,*.internal.example.com --dir /var/cache/repositories/vcs --max-bytes 858993456" +
		" --secret /etc/gocache-vcs/secret --hosts git.corp.example.com"; strings.Join(c.Command, " ") != want {
		t.Errorf("the container runs %q\nwant %q", c.Command, want)
	}
	for _, container := range pod.Containers {
		for _, port := range container.Ports {
			if listens := fmt.Sprintf("127.0.0.1:%d", port.ContainerPort); slices.Contains(c.Command, listens) {
				t.Errorf("the container and %s of %s listen at %s", port.Name, container.Name, listens)
			}
		}
	}
	if variable(*c, "HTTPS_PROXY") != "http://out.example.com:3128" || len(c.Env) != 1 || !strings.HasPrefix(c.Image, "go:1.") {
		t.Errorf("the container has %+v in image %s", c.Env, c.Image)
	}
	if sc := c.SecurityContext; sc == nil || !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || len(c.Resources.Limits) < 3 || len(c.Resources.Requests) < 3 {
		t.Errorf("the container is not restricted: %+v %+v", sc, c.Resources)
	}
	for _, v := range pod.Volumes {
		if v.Secret == nil || v.Secret.SecretName != "git" {
			continue
		}
		users := 0
		for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
			if slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name }) {
				users++
				if container.Name != "version-control" {
					t.Errorf("container %s has the credentials", container.Name)
				}
			}
		}
		if !slices.ContainsFunc(v.Secret.Items, func(k corev1.KeyToPath) bool { return k.Key == "ca.crt" }) {
			t.Errorf("the authority of the Secret is not mounted: %+v", v.Secret.Items)
		}
		if users != 1 || *v.Secret.DefaultMode&0o007 != 0 || slices.ContainsFunc(v.Secret.Items, func(k corev1.KeyToPath) bool { return k.Key == "other" }) {
			t.Errorf("%d containers have %+v", users, v.Secret)
		}
	}
	if got, want := mounts.Shared(pod), []string{"store: agent proxy", "tools: install version-control"}; !slices.Equal(got, want) {
		t.Errorf("the containers share %q, want %q", got, want)
	}
	if agent.Name != "agent" || variable(server1, "GONOSUMDB") != "git.corp.example.com/team,*.internal.example.com" || slices.Contains(server1.Command, "--credentials") {
		t.Errorf("the server has %+v %q", server1.Env, server1.Command)
	}

	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.PrivateModules.VersionControl.Image = "registry.test/go:1" })
	stalled(v1alpha1.ReasonSecretRefused, "may not be mounted into image registry.test/go:1 (spec.privateModules.versionControl.image is set)")
	if _, _, pod = w.pod("goproxy-blue"); slices.Contains(versionControl(pod).Command, "--secret") {
		t.Error("the Secret is mounted into an image that it does not list")
	}
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.PrivateModules.VersionControl = &v1alpha1.ProxyVersionControl{TrustedCA: &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "ca"}}}
	})
	stalled(v1alpha1.ReasonSourceNotFound, "versionControl.trustedCA: ConfigMap ca does not exist")
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": "x"}}
	w.must(server.Client.Create(t.Context(), config))
	stalled(v1alpha1.ReasonSourceNotFound, "ConfigMap ca has no certificate in PEM format under the key ca.crt")
	_, authority, err := gitserver.Certificate("git.corp.example.com")
	w.must(err)
	config.Data["ca.crt"] = string(authority)
	w.must(server.Client.Update(t.Context(), config))
	w.settle()
	if _, _, pod = w.pod("goproxy-blue"); !strings.Contains(strings.Join(versionControl(pod).Command, " "), "--ca-file /etc/gocache-vcs/ca/ca.crt") {
		t.Errorf("the container runs %q", versionControl(pod).Command)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.PrivateModules.Patterns = []string{"git.[corp"} })
	stalled(v1alpha1.ReasonInvalidSpec, `spec.privateModules.patterns[0]: "git.[corp" is no pattern`)
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.PrivateModules.VersionControl = nil })
	w.settle()
	var set appsv1.StatefulSet
	if !w.exists(&set, "goproxy-blue") || versionControl(set.Spec.Template.Spec) != nil || len(set.Spec.Template.Spec.InitContainers) != 1 {
		t.Errorf("the container stays: %+v", set.Spec.Template.Spec.Containers)
	}
}
