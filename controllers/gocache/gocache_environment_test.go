package gocache

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

// TestEnvironment holds the environment variables of builds, word by word.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		spec            func(*v1alpha1.GoCacheSpec)
		online, offline map[string]string
	}{
		{
			name: "nothing set",
			spec: func(*v1alpha1.GoCacheSpec) {},
			online: map[string]string{
				"GOCACHE": "/gocache/build", "GOMODCACHE": "/gocache/mod", "GOTOOLCHAIN": "local",
			},
			offline: map[string]string{
				"GOCACHE": "/gocache/build", "GOMODCACHE": "/gocache/mod", "GOTOOLCHAIN": "local",
				"GOPROXY": "off",
			},
		},
		{
			name: "a proxy of ours, private modules, strict",
			spec: func(s *v1alpha1.GoCacheSpec) {
				s.Environment = v1alpha1.Environment{
					ProxyRef: &v1alpha1.LocalReference{Name: "goproxy"}, PrivateModules: &v1alpha1.PrivateModules{Patterns: []string{"example.com/a", "*.corp.example.com"}},
					Isolation: v1alpha1.IsolationStrict, ChecksumDatabase: "sum.example.com",
				}
			},
			online: map[string]string{
				"GOCACHE": "/gocache/build", "GOMODCACHE": "/gocache/mod", "GOTOOLCHAIN": "local",
				"GOPROXY":   "http://r|http://r/~2|http://r/~3",
				"GONOSUMDB": "example.com/a,*.corp.example.com", "GONOPROXY": "none", "GOSUMDB": "sum.example.com",
				"GOENV": "off", "GOWORK": "off", "GOFLAGS": "",
			},
			offline: map[string]string{
				"GOCACHE": "/gocache/build", "GOMODCACHE": "/gocache/mod", "GOTOOLCHAIN": "local",
				"GOPROXY":   "off",
				"GONOSUMDB": "example.com/a,*.corp.example.com", "GONOPROXY": "none", "GOSUMDB": "sum.example.com",
				"GOENV": "off", "GOWORK": "off", "GOFLAGS": "",
			},
		},
		{
			name: "somebody else's proxy, private modules, another path, one layer",
			spec: func(s *v1alpha1.GoCacheSpec) {
				s.Layers = []v1alpha1.CacheLayer{v1alpha1.LayerModules}
				s.Environment = v1alpha1.Environment{Proxy: "https://p.example.com,direct", PrivateModules: &v1alpha1.PrivateModules{Patterns: []string{"example.com/a"}}, MountPath: "/c"}
			},
			online: map[string]string{
				"GOMODCACHE": "/c/mod", "GOTOOLCHAIN": "local", "GOPROXY": "https://p.example.com,direct", "GOPRIVATE": "example.com/a",
			},
			offline: map[string]string{
				"GOMODCACHE": "/c/mod", "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOPRIVATE": "example.com/a",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = nil
			w.cache(tt.spec)
			if w.get().Spec.Environment.ProxyRef != nil {
				w.proxy("http://r|http://r/~2|http://r/~3", true)
			}
			w.settle()
			if diff := cmp.Diff(tt.online, get[corev1.ConfigMap](w, "ci-env").Data); diff != "" {
				t.Errorf("ci-env (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.offline, get[corev1.ConfigMap](w, "ci-env-offline").Data); diff != "" {
				t.Errorf("ci-env-offline (-want +got):\n%s", diff)
			}
			w.writerSees(tt.online)
		})
	}
}

// TestPrivateModulesOfTheProxy holds that builds inherit what is private to the
// proxy that the cache refers to, beside what the cache itself names, and that a
// change of the proxy reaches them: else the go command would ask the public
// checksum database for these modules.
func TestPrivateModulesOfTheProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"}
		s.Environment.PrivateModules = &v1alpha1.PrivateModules{Patterns: []string{"a.example.com", "b.example.com"}}
	})
	w.proxy("http://r", true)
	for _, tt := range []struct {
		patterns []string
		want     string
	}{
		{[]string{"b.example.com", "c.example.com"}, "a.example.com,b.example.com,c.example.com"},
		{[]string{"d.example.com"}, "a.example.com,b.example.com,d.example.com"},
	} {
		p := get[v1alpha1.ModProxy](w, "goproxy")
		p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: tt.patterns}}
		w.must(server.Client.Update(t.Context(), p))
		w.settle()
		if env := get[corev1.ConfigMap](w, "ci-env").Data; env["GONOSUMDB"] != tt.want || env["GONOPROXY"] != "none" || env["GOPRIVATE"] != "" {
			t.Errorf("proxy %v: %v", tt.patterns, env)
		}
	}
}

// TestProxyThatRequiresCredentials holds that the warm-up, and nothing that builds
// read, gets the credentials that clients of the ModProxy need.
func TestProxyThatRequiresCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"}
	})
	w.proxy("https://r", true)
	p := get[v1alpha1.ModProxy](w, "goproxy")
	p.Spec.Router.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "tls"}}
	p.Spec.Router.ClientAuth = &v1alpha1.ClientAuth{SecretRef: v1alpha1.LocalReference{Name: "clients"}}
	w.must(server.Client.Update(t.Context(), p))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "clients"}, StringData: map[string]string{"username": "ci", "password": "s3cret"}}
	w.must(server.Client.Create(t.Context(), secret))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, "ModProxy goproxy requires credentials: Secret clients has no annotation cache.gocache.dev/hosts, so its content is sent to no host; if it is meant for r, run: kubectl annotate secret clients --overwrite cache.gocache.dev/hosts=r")
	if exists[batchv1.Job](w, "ci-writer") {
		t.Fatal("a Job mounts a Secret that does not allow the host of the router")
	}
	secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: "r"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	pod := get[batchv1.Job](w, "ci-writer").Spec.Template.Spec
	command := strings.Join(pod.Containers[0].Command, " ")
	if !strings.Contains(command, "--proxy-url https://r --proxy-credentials /secrets/proxy") {
		t.Errorf("the warm-up runs %s", command)
	}
	if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "clients" }) {
		t.Errorf("the Secret is not mounted: %+v", pod.Volumes)
	}
	for _, name := range []string{"ci-env", "ci-env-offline"} {
		for key, value := range get[corev1.ConfigMap](w, name).Data {
			if key == "NETRC" || strings.Contains(value, "clients") || strings.Contains(value, "@") {
				t.Errorf("ConfigMap %s has %s=%s", name, key, value)
			}
		}
	}
}

// TestProxyCredentialsAndImages holds that an image that a user has chosen gets the
// credentials of the ModProxy only if their Secret lists it.
func TestProxyCredentialsAndImages(t *testing.T) {
	t.Parallel()
	const image = "registry.example.com/golang:1.26.8"
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Environment.ProxyRef, s.Toolchain.Image = &v1alpha1.LocalReference{Name: "goproxy"}, image
	})
	w.proxy("https://r", true)
	p := get[v1alpha1.ModProxy](w, "goproxy")
	p.Spec.Router.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "tls"}}
	p.Spec.Router.ClientAuth = &v1alpha1.ClientAuth{SecretRef: v1alpha1.LocalReference{Name: "clients"}}
	w.must(server.Client.Update(t.Context(), p))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "clients", Annotations: map[string]string{v1alpha1.HostsAnnotation: "r"}},
		StringData: map[string]string{"username": "ci", "password": "s3cret"},
	}
	w.must(server.Client.Create(t.Context(), secret))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, "ModProxy goproxy requires credentials: Secret clients may not be mounted into image "+image+" (spec.toolchain.image is set)")
	if exists[batchv1.Job](w, "ci-writer") {
		t.Fatal("a Job mounts a Secret into an image that the Secret does not list")
	}
	secret.Annotations[v1alpha1.ImagesAnnotation] = image
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	if pod := get[batchv1.Job](w, "ci-writer").Spec.Template.Spec; !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "clients" }) {
		t.Errorf("the Secret is not mounted: %+v", pod.Volumes)
	}
}

// writerSees holds that the writer works in the environment of the builds: else
// they would not hit what it wrote.
func (w *world) writerSees(env map[string]string) {
	w.t.Helper()
	got := map[string]string{}
	for _, v := range get[batchv1.Job](w, "ci-writer").Spec.Template.Spec.Containers[0].Env {
		got[v.Name] = v.Value
	}
	if got["HOME"] != "/tmp" {
		w.t.Errorf("HOME is %q: the root file system is read-only", got["HOME"])
	}
	delete(got, "HOME")
	if diff := cmp.Diff(env, got); diff != "" {
		w.t.Errorf("the writer's environment (-builds +writer):\n%s", diff)
	}
}

// TestEnvironmentIsRepaired holds that the operator owns all data of the
// ConfigMaps: a value that was changed or added by a user is reverted.
func TestEnvironmentIsRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	cm := get[corev1.ConfigMap](w, "ci-env")
	cm.Data["GOTOOLCHAIN"] = "auto"
	w.must(server.Client.Update(t.Context(), cm))
	w.settle()
	if got := get[corev1.ConfigMap](w, "ci-env").Data["GOTOOLCHAIN"]; got != "local" {
		t.Errorf("GOTOOLCHAIN=%s", got)
	}
}

// TestFallback holds that a fallback is the last entry of GOPROXY, that private
// modules pass by it, and that it is left out where it would serve what the proxy
// refuses.
func TestFallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"}
		s.Environment.Fallback = "https://mirror.example.com"
		s.Environment.PrivateModules = &v1alpha1.PrivateModules{Patterns: []string{"corp.example.com"}}
	})
	w.proxy("http://r", true)
	w.settle()
	published := get[v1alpha1.ModProxy](w, "goproxy").Status.GOPROXY
	expect := func(what, proxy, direct string) {
		t.Helper()
		if env := get[corev1.ConfigMap](w, "ci-env").Data; env["GOPROXY"] != proxy || env["GONOPROXY"] != direct {
			t.Errorf("%s: %v", what, env)
		}
	}
	expect("a URL", published+"|https://mirror.example.com", "corp.example.com")
	p := get[v1alpha1.ModProxy](w, "goproxy")
	p.Spec.Policy = &v1alpha1.ProxyPolicy{MinimumAge: &metav1.Duration{Duration: time.Hour}}
	w.must(server.Client.Update(t.Context(), p))
	w.settle()
	expect("a policy", published, "none")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "spec.environment.fallback https://mirror.example.com is left out of GOPROXY: the go command would get from it what the policy of ModProxy goproxy refuses. Set fallback to None, or the policy to DryRun")
	p = get[v1alpha1.ModProxy](w, "goproxy")
	p.Spec.Policy.Mode = v1alpha1.PolicyDryRun
	w.must(server.Client.Update(t.Context(), p))
	w.settle()
	expect("a dry run", published+"|https://mirror.example.com", "corp.example.com")
}
