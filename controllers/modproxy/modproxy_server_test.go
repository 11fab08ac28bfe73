package modproxy

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// pod of an instance: its server, its agent and the whole.
func (w *world) pod(name string) (server, agent corev1.Container, pod corev1.PodSpec) {
	w.t.Helper()
	var set appsv1.StatefulSet
	if !w.exists(&set, name) {
		w.t.Fatalf("there is no StatefulSet %s", name)
	}
	pod = set.Spec.Template.Spec
	return pod.Containers[0], pod.InitContainers[0], pod
}

func variable(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func (w *world) config() string {
	w.t.Helper()
	var config corev1.ConfigMap
	if !w.exists(&config, "goproxy-router-config") {
		w.t.Fatal("the router has no configuration")
	}
	return config.Data["haproxy.cfg"]
}

// TestAthens holds what Athens needs to run, and that its own readiness is not used.
func TestAthens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens, Env: []v1alpha1.EnvVar{{Name: "ATHENS_LOG_LEVEL", Value: "debug"}}}
		s.Upstream = &v1alpha1.ProxyUpstream{Proxy: "https://proxy.example.com"}
		s.ChecksumDatabase = "sum.example.com+1234+abc"
		s.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"corp.example.com", "*.example.org"}}}
	})
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "server.type Athens needs server.image")
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Server.Image = "athens:1" })
	w.settle()

	server, agent, _ := w.pod("goproxy-blue")
	for name, want := range map[string]string{
		"ATHENS_STORAGE_TYPE": "disk", "ATHENS_DISK_STORAGE_ROOT": "/var/lib/gocache-proxy/modules", "ATHENS_PORT": ":3000",
		"HOME": "/tmp", "ATHENS_SUM_DBS": "https://sum.example.com", "ATHENS_GONOSUM_PATTERNS": "corp.example.com,*.example.org",
		"ATHENS_GO_BINARY_ENV_VARS": "GONOPROXY=none;GONOSUMDB=corp.example.com,*.example.org;GOPROXY=https://proxy.example.com;GOSUMDB=sum.example.com+1234+abc",
		"ATHENS_LOG_LEVEL":          "debug",
	} {
		if got := variable(server, name); got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
	if server.Image != "athens:1" || server.ReadinessProbe != nil || server.Command != nil {
		t.Errorf("the server is %+v", server)
	}
	command := strings.Join(agent.Command, " ")
	for _, want := range []string{"--prepare", "--layout athens", "--server http://127.0.0.1:3000/healthz"} {
		if !strings.Contains(command, want) {
			t.Errorf("the agent is not told %s: %s", want, command)
		}
	}
	var service corev1.Service
	if !w.exists(&service, "goproxy-blue") || len(service.Spec.Ports) != 2 || service.Spec.Ports[0].TargetPort.IntValue() != 3000 {
		t.Errorf("the Service has ports %+v", service.Spec.Ports)
	}
	if !strings.Contains(w.config(), " port 9103") {
		t.Error("the router believes what Athens says of itself")
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Upstream.Proxy = "https://proxy.example.com/;x" })
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidSpec, "a semicolon")
}

// TestCustom holds that a server of which only the port is known runs as it is,
// beside an agent that does not check its store.
func TestCustom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.Instances[0].Server = &v1alpha1.ProxyServer{
			Type: v1alpha1.ServerCustom, Image: "own:1", Args: []string{"serve"}, Port: ptr.To[int32](9999),
			Env: []v1alpha1.EnvVar{{Name: "HOME", Value: "/home"}},
		}
	})
	server, agent, pod := w.pod("goproxy-blue")
	if server.Image != "own:1" || server.Command != nil || !slices.Equal(server.Args, []string{"serve"}) || server.Ports[0].ContainerPort != 9999 ||
		variable(server, "HOME") != "/home" || server.LivenessProbe.TCPSocket == nil {
		t.Errorf("the server is %+v", server)
	}
	if slices.Contains(agent.Command, "--layout") || !slices.Contains(agent.Command, "http://127.0.0.1:9999/") {
		t.Errorf("the agent is told %q", agent.Command)
	}
	if sc := pod.SecurityContext; sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot || server.SecurityContext == nil || agent.SecurityContext == nil {
		t.Error("the pod is not restricted")
	}
	if c := w.config(); !strings.Contains(c, "port 9103") {
		t.Errorf("the router checks the server by itself:\n%s", c)
	}
}

// TestInstancesAreNamedToEachOther holds that a server gets the addresses of the
// other instances that run the same server, and a new one those of all.
func TestInstancesAreNamedToEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Instances[0].Storage.MaxUsedPercent = ptr.To[int32](80)
		s.Instances = append(s.Instances, v1alpha1.ProxyInstance{Name: "red", Storage: s.Instances[0].Storage, Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens, Image: "athens:1"}})
	})
	w.settle()
	blue, _, _ := w.pod("goproxy-blue")
	if got, want := variable(blue, "GOCACHE_PROXY_PEERS"), "http://goproxy-green."+w.namespace+".svc:8080"; got != want {
		t.Errorf("the peers of blue are %q, want %q", got, want)
	}
	if got := variable(blue, "GOCACHE_PROXY_MAX_USED_PERCENT"); got != "80" {
		t.Errorf("blue uses %q %% of its volume, want 80", got)
	}
	if red, _, _ := w.pod("goproxy-red"); variable(red, "GOCACHE_PROXY_PEERS") != "" {
		t.Error("a server of another kind has peers")
	}
	_, agent, _ := w.pod("goproxy-blue")
	if size := "1073741824"; variable(blue, "GOCACHE_PROXY_VOLUME_SIZE") != size || !slices.Contains(agent.Command, size) {
		t.Errorf("the size of the volume is %q for the server, and the agent runs %q", variable(blue, "GOCACHE_PROXY_VOLUME_SIZE"), agent.Command)
	}
}

// TestQuarantinedInstancesAreNamed holds that the other instances learn which of them
// are quarantined, and when one is reinstated, without a restart.
func TestQuarantinedInstancesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	named := func(want string) {
		t.Helper()
		var cm corev1.ConfigMap
		if !w.exists(&cm, "goproxy-peers") || cm.Data["quarantined"] != want {
			t.Errorf("quarantined are %q, want %q", cm.Data, want)
		}
	}
	named("")
	green, _, pod := w.pod("goproxy-green")
	file := variable(green, "GOCACHE_PROXY_QUARANTINED_PEERS")
	mounted := slices.ContainsFunc(green.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == filepath.Dir(file) && m.SubPath == "" && m.ReadOnly
	})
	optional := slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.ConfigMap != nil && v.ConfigMap.Name == "goproxy-peers" && ptr.Deref(v.ConfigMap.Optional, false)
	})
	if filepath.Base(file) != "quarantined" || !mounted || !optional {
		t.Errorf("the server reads %q of %+v, %+v", file, green.VolumeMounts, pod.Volumes)
	}
	w.blue.wrong = true
	w.tick(3)
	if !w.quarantined("blue") {
		t.Fatal("blue is not quarantined")
	}
	named("http://goproxy-blue." + w.namespace + ".svc:8080\n")
	w.blue.wrong = false
	w.request("reinstate-1", v1alpha1.RequestReinstate, "blue")
	w.tick(5)
	if w.quarantined("blue") {
		t.Fatal("blue is not reinstated")
	}
	named("")
}

// TestPrivate holds that the Secret for private modules reaches the servers as
// files, and no other container, Secret or key does.
func TestPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(server.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "login", Annotations: map[string]string{
			v1alpha1.HostsAnnotation: "*.corp.example.com", v1alpha1.ImagesAnnotation: "athens:1"}},
		StringData: map[string]string{"netrc": "machine git.corp.example.com login a password b", "other": "x"},
	}))
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"corp.example.com"}}, SecretRef: &v1alpha1.LocalReference{Name: "login"}}
		s.Instances[1].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens, Image: "athens:1"}
	})
	w.settle()
	blue, agent, pod := w.pod("goproxy-blue")
	if others := variable(blue, "GOCACHE_PROXY_PEERS"); others != "" {
		t.Errorf("instances with another server are peers: %s", others)
	}
	if !slices.Contains(blue.Command, "/etc/gocache-proxy/private") || !slices.Contains(blue.Command, "*.corp.example.com") || variable(blue, "GONOSUMDB") != "corp.example.com" {
		t.Errorf("the server is told %q, %+v", blue.Command, blue.Env)
	}
	green, _, _ := w.pod("goproxy-green")
	if variable(green, "ATHENS_NETRC_PATH") != "/etc/gocache-proxy/private/netrc" {
		t.Errorf("Athens is told %+v", green.Env)
	}
	mounted := func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/etc/gocache-proxy/private" && m.ReadOnly })
	}
	if !mounted(blue) || !mounted(green) || mounted(agent) {
		t.Error("the Secret is not where it belongs")
	}
	logins := 0
	for _, v := range pod.Volumes {
		switch {
		case v.Secret == nil:
		case *v.Secret.DefaultMode&0o007 != 0:
			t.Errorf("a Secret is mounted as %+v", v.Secret)
		case v.Secret.SecretName == "login":
			logins++
			if len(v.Secret.Items) == 0 || slices.ContainsFunc(v.Secret.Items, func(k corev1.KeyToPath) bool { return k.Key == "other" }) {
				t.Errorf("the keys %+v are mounted", v.Secret.Items)
			}
		case v.Secret.SecretName != "goproxy-agent": // the token of the agent
			t.Errorf("the Secret %s is mounted, too", v.Secret.SecretName)
		}
	}
	if logins != 1 {
		t.Errorf("the Secret is mounted %d times", logins)
	}
}

// TestSecretConsent holds that a Secret which does not allow the hosts of the
// upstream, or the image of an instance, is not mounted, that the proxy serves
// without it and reports why, and that a correction and a withdrawal count.
func TestSecretConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mounted := func(name string) bool {
		t.Helper()
		_, _, pod := w.pod(name)
		return slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "login" })
	}
	stalled := func(reason, message string, blue, green bool) {
		t.Helper()
		w.settle()
		if message != "" {
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, reason, message)
		}
		if mounted("goproxy-blue") != blue || mounted("goproxy-green") != green {
			t.Errorf("%s: mounted into blue %v, into green %v", message, mounted("goproxy-blue"), mounted("goproxy-green"))
		}
	}
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Upstream = &v1alpha1.ProxyUpstream{Proxy: "http://plain.example.com,https://proxy.corp.example.com|off"}
		s.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"corp.example.com"}}, SecretRef: &v1alpha1.LocalReference{Name: "login"}}
		s.Instances[1].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "registry.test/own:1", Port: ptr.To[int32](9999)}
	})
	stalled(v1alpha1.ReasonSourceNotFound, "Secret login does not exist", false, false)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "login"}, StringData: map[string]string{"other": "x"}}
	w.must(server.Client.Create(t.Context(), secret))
	stalled(v1alpha1.ReasonSourceNotFound, "neither the key netrc nor", false, false)
	update := func(annotations map[string]string) {
		t.Helper()
		secret.Annotations = annotations
		w.must(server.Client.Update(t.Context(), secret))
	}
	secret.StringData = map[string]string{"username": "ci", "password": "s3cret"}
	update(nil)
	stalled(v1alpha1.ReasonSecretRefused, "has no annotation cache.gocache.dev/hosts, so its content is sent to no host; if it is meant for proxy.corp.example.com", false, false)
	update(map[string]string{v1alpha1.HostsAnnotation: "plain.example.com"}) // which is asked over http
	stalled(v1alpha1.ReasonSecretRefused, "may not be sent to proxy.corp.example.com", false, false)
	update(map[string]string{v1alpha1.HostsAnnotation: "*.corp.example.com"})
	stalled(v1alpha1.ReasonSecretRefused, "Instance green runs without spec.privateModules.secretRef: Secret login may not be mounted into image registry.test/own:1 (server.type is Custom)", true, false)
	update(map[string]string{v1alpha1.HostsAnnotation: "*.corp.example.com", v1alpha1.ImagesAnnotation: "registry.test/*"})
	stalled("", "", true, true)
	if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition); c != nil && c.Reason == v1alpha1.ReasonSecretRefused {
		t.Errorf("still refused: %s", c.Message)
	}
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Instances[0].Server = &v1alpha1.ProxyServer{Args: []string{"--upstream", "https://evil.test"}}
	})
	stalled(v1alpha1.ReasonSecretRefused, "(server.args is set)", false, true)
	update(nil)
	stalled(v1alpha1.ReasonSecretRefused, "has no annotation", false, false)
}

// TestVariablesFromSecrets holds that a variable is read from a Secret only if the
// Secret lists the image, whichever server it is, and that an instance runs without
// one that is refused.
func TestVariablesFromSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const variable = "UPSTREAM_TOKEN"
	given := func(name string) *corev1.EnvVarSource {
		t.Helper()
		_, _, pod := w.pod(name)
		i := slices.IndexFunc(pod.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == variable })
		if i < 0 {
			return nil
		}
		return pod.Containers[0].Env[i].ValueFrom
	}
	stalled := func(reason, message string, blue, green bool) {
		t.Helper()
		w.settle()
		if message != "" {
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, reason, message)
		}
		if (given("goproxy-blue") != nil) != blue || (given("goproxy-green") != nil) != green {
			t.Errorf("%s: blue has %v, green %v", message, given("goproxy-blue"), given("goproxy-green"))
		}
	}
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		env := []v1alpha1.EnvVar{{Name: variable, ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: v1alpha1.SecretKeyReference{Name: "token", Key: "value"}}}}
		s.Server = &v1alpha1.ProxyServer{Env: env} // of the operator's own
		s.Instances[1].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "registry.test/own:1", Port: ptr.To[int32](9999), Env: env}
	})
	stalled(v1alpha1.ReasonSourceNotFound, "Instance blue runs without server.env "+variable+": Secret token does not exist", false, false)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "token"}, StringData: map[string]string{"value": "s3cret"}}
	w.must(server.Client.Create(t.Context(), secret))
	update := func(images string) {
		t.Helper()
		secret.Annotations = map[string]string{v1alpha1.ImagesAnnotation: images}
		w.must(server.Client.Update(t.Context(), secret))
	}
	stalled(v1alpha1.ReasonSecretRefused, "(server.env "+variable+" reads it): its annotation cache.gocache.dev/images does not name it", false, false)
	update("registry.test/own:1")
	stalled(v1alpha1.ReasonSecretRefused, "Instance blue runs without", false, true)
	_, _, own := w.pod("goproxy-blue")
	update("registry.test/own:1, " + own.Containers[0].Image)
	stalled("", "", true, true)
	want := &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "token"}, Key: "value", Optional: ptr.To(true)}}
	if diff := cmp.Diff(want, given("goproxy-green")); diff != "" {
		t.Errorf("green (-want +got):\n%s", diff)
	}
	if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition); c != nil && c.Reason == v1alpha1.ReasonSecretRefused {
		t.Errorf("still refused: %s", c.Message)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Server.Env[0].ValueFrom.SecretKeyRef.Key = "other" })
	stalled(v1alpha1.ReasonSourceNotFound, "Secret token has no key other", false, true)
}

// TestExternal holds that an instance which the operator does not run is routed to and
// probed, and that nothing is made for it.
func TestExternal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.blue.unready = true // it has no such page
	w.proxy(func(s *v1alpha1.ModProxySpec) {
		s.Instances[0] = v1alpha1.ProxyInstance{Name: "blue", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com/go"}}
	})
	w.mu.Lock()
	w.addresses["proxy.example.com"] = w.blue
	w.mu.Unlock()
	w.settle()
	w.tick(2)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
	if w.exists(&appsv1.StatefulSet{}, "goproxy-blue") || w.exists(&corev1.Service{}, "goproxy-blue") || w.exists(&corev1.PersistentVolumeClaim{}, "goproxy-blue") {
		t.Error("something was made for it")
	}
	if c := w.config(); !strings.Contains(c, "proxy.example.com:443") {
		t.Errorf("the router does not know it:\n%s", c)
	}
	w.blue.wrong = true
	w.tick(3)
	if !w.quarantined("blue") {
		t.Error("it has corrupt content and is not quarantined")
	}
}

// TestTrustThatIsNotThere holds that pods are not replaced for trust data that was
// removed for a while.
func TestTrustThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sums := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sums"}, Data: map[string]string{"go.sum": "example.com/c v1.0.0 " + testModule.Sum + "\n"}}
	w.must(server.Client.Create(t.Context(), sums))
	w.serving(func(s *v1alpha1.ModProxySpec) {
		s.Integrity = v1alpha1.StoreIntegrity{Trust: &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}}
	})
	_, agent, before := w.pod("goproxy-blue")
	if !slices.Contains(agent.Command, "/trust/0/go.sum") {
		t.Errorf("the agent is told %q", agent.Command)
	}
	w.must(server.Client.Delete(t.Context(), sums))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSourceNotFound, "spec.integrity.trust.goSumRefs[0]")
	if _, _, after := w.pod("goproxy-blue"); len(after.Volumes) != len(before.Volumes) {
		t.Errorf("the pod changed: %+v", after.Volumes)
	}
	w.weights(100, 100)
}
