package instances

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/conditions"
)

// reconciler works on a cluster with these objects, and with what its reads fail with.
func reconciler(t *testing.T, fail interceptor.Funcs, objects ...client.Object) Reconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&appsv1.StatefulSet{}).Build()
	return Reconciler{Client: c, Live: interceptor.NewClient(c, fail), FieldOwner: "test"}
}

// pair is a proxy of two instances, of which green serves.
func pair() *v1alpha1.ModProxy {
	p := upstream("")
	p.UID = "p"
	store := &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}
	p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue", Storage: store}, {Name: "green", Storage: store}}
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", Healthy: true, ObservedWeight: 100}, {Name: "green", Healthy: true, ObservedWeight: 100}}
	return p
}

// set is the StatefulSet of an instance whose pod is ready.
func set(name string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Generation: 2, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ModProxyKind, Name: "p", UID: "p", Controller: ptr.To(true),
		}}},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: 2, UpdatedReplicas: 1, ReadyReplicas: 1},
	}
}

// TestPostponed holds that the pod of an instance which serves is replaced only while
// another one serves, and one in a pass.
func TestPostponed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(p *v1alpha1.ModProxy, blue, green *appsv1.StatefulSet)
		began  bool
		want   bool
	}{
		"another serves":    {func(*v1alpha1.ModProxy, *appsv1.StatefulSet, *appsv1.StatefulSet) {}, false, false},
		"one has begun":     {func(*v1alpha1.ModProxy, *appsv1.StatefulSet, *appsv1.StatefulSet) {}, true, true},
		"it does not serve": {func(_ *v1alpha1.ModProxy, blue, _ *appsv1.StatefulSet) { blue.Status.ReadyReplicas = 0 }, true, false},
		"it is replaced": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) {
			p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, true, false},
		"the other is sick": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) { p.Status.Instances[1].Healthy = false }, false, true},
		"none is healthy": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) {
			p.Status.Instances[0].Healthy, p.Status.Instances[1].Healthy = false, false
		}, false, false},
		"none is healthy, and one has begun": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) {
			p.Status.Instances[0].Healthy, p.Status.Instances[1].Healthy = false, false
		}, true, true},
		"none is healthy, and the other rolls": {func(p *v1alpha1.ModProxy, _, green *appsv1.StatefulSet) {
			p.Status.Instances[0].Healthy, p.Status.Instances[1].Healthy = false, false
			green.Status.ReadyReplicas = 0
		}, false, true},
		"it serves though it is sick, and the other is quarantined": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) {
			p.Status.Instances[0].Healthy, p.Status.Instances[1].Healthy = false, false
			p.Status.Instances[1].Quarantined = &v1alpha1.Quarantine{}
		}, false, true},
		"all are quarantined": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) {
			for i := range p.Status.Instances {
				p.Status.Instances[i] = v1alpha1.InstanceStatus{Name: p.Status.Instances[i].Name, Quarantined: &v1alpha1.Quarantine{}}
			}
		}, false, false},
		"the other drains":   {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) { p.Status.Instances[1].ObservedWeight = 0 }, false, true},
		"the other rolls":    {func(_ *v1alpha1.ModProxy, _, green *appsv1.StatefulSet) { green.Status.ObservedGeneration = 1 }, false, true},
		"the other is old":   {func(_ *v1alpha1.ModProxy, _, green *appsv1.StatefulSet) { green.Status.UpdatedReplicas = 0 }, false, true},
		"the other is down":  {func(_ *v1alpha1.ModProxy, _, green *appsv1.StatefulSet) { green.Status.ReadyReplicas = 0 }, false, true},
		"it is the only one": {func(p *v1alpha1.ModProxy, _, _ *appsv1.StatefulSet) { p.Spec.Instances = p.Spec.Instances[:1] }, false, false},
		"the other is external": {func(p *v1alpha1.ModProxy, _, green *appsv1.StatefulSet) {
			p.Spec.Instances[1].External, green.Status.ReadyReplicas = &v1alpha1.ExternalInstance{URL: "https://a.test"}, 0
		}, false, false},
	} {
		p, blue, green := pair(), set("p-blue"), set("p-green")
		tt.change(p, blue, green)
		r := reconciler(t, interceptor.Funcs{}, blue, green)
		desired := set("p-blue")
		desired.Spec.Template.Spec.Containers = []corev1.Container{{Name: "server", Image: "new"}}
		out := Result{began: tt.began}
		got, err := r.postponed(t.Context(), p, pass.Observed{Stored: p}, &p.Spec.Instances[0], desired, &out)
		if err != nil || got != tt.want || (len(out.Waits) > 0) != tt.want {
			t.Errorf("%s: %v, %v, waits %v", name, got, err, out.Waits)
		}
	}
}

// TestPostponedUnknown holds that nothing is replaced while it is unknown what serves.
func TestPostponedUnknown(t *testing.T) {
	p := pair()
	fails := 0
	r := reconciler(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*appsv1.StatefulSet); ok && key.Name == "p-green" {
			fails++
			return errors.New("for a moment")
		}
		return c.Get(ctx, key, o, opts...)
	}}, set("p-blue"), set("p-green"))
	var out Result
	if waits, err := r.postponed(t.Context(), p, pass.Observed{Stored: p}, &p.Spec.Instances[0], set("p-blue"), &out); err == nil || !waits || out.began || fails == 0 {
		t.Errorf("waits %v, %v, began %v", waits, err, out.began)
	}
}

// TestReconcileWithoutSecret holds that a Secret which does not exist is reported while
// the instances run, and that nothing changes while one cannot be read.
func TestReconcileWithoutSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		fail    error
		created int
	}{"missing": {nil, 2}, "not readable": {errors.New("for a moment"), 0}} {
		p := pair()
		p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{SecretRef: &v1alpha1.LocalReference{Name: "login"}}
		r := reconciler(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); ok && key.Name == "login" && tt.fail != nil {
				return tt.fail
			}
			return c.Get(ctx, key, o, opts...)
		}})
		_, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p, Now: time.Unix(1, 0)})
		if stalled := conditions.Stalled(err) != nil; err == nil || stalled != (tt.fail == nil) {
			t.Errorf("%s: %v", name, err)
		}
		var sets appsv1.StatefulSetList
		if err := r.Client.List(t.Context(), &sets); err != nil || len(sets.Items) != tt.created {
			t.Errorf("%s: %d StatefulSets, want %d; %v", name, len(sets.Items), tt.created, err)
		}
	}
}

// TestPolicyComesFirst holds that no pod is created before the NetworkPolicy that
// restricts it.
func TestPolicyComesFirst(t *testing.T) {
	for name, refuses := range map[string]bool{"applied": false, "refused": true} {
		p, r := pair(), reconciler(t, interceptor.Funcs{})
		r.ManagerNamespace = "gocache-system"
		var kinds []string
		r.Client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(r.Client.Scheme()).Build(), interceptor.Funcs{
			Apply: func(_ context.Context, _ client.WithWatch, o runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
				text, err := json.Marshal(o)
				var of metav1.TypeMeta
				if err := errors.Join(err, json.Unmarshal(text, &of)); err != nil {
					return err
				}
				if kinds = append(kinds, of.Kind); refuses {
					return errors.New("refused")
				}
				return nil
			},
		})
		_, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p})
		if refuses != (err != nil) || len(kinds) == 0 || kinds[0] != "NetworkPolicy" || slices.Contains(kinds, "StatefulSet") == refuses {
			t.Errorf("%s: applied %v, %v", name, kinds, err)
		}
	}
}

// fetcher is a proxy whose private modules are fetched with a Secret.
func fetcher() *v1alpha1.ModProxy {
	p := pair()
	p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{
		PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.test/team"}},
		VersionControl: &v1alpha1.ProxyVersionControl{SecretRef: &v1alpha1.LocalReference{Name: "keys"}},
	}
	return p
}

// TestUsable holds which Secrets the container that fetches is given.
func TestUsable(t *testing.T) {
	for name, tt := range map[string]struct {
		data  map[string]string
		hosts string
		image string
		want  string // in the error; empty: usable
	}{
		"netrc":                  {map[string]string{netrcKey: "machine git.test"}, "git.test", "", ""},
		"a password":             {map[string]string{passwordKey: "x"}, "git.test", "", ""},
		"nothing":                {nil, "git.test", "", "has neither"},
		"no host":                {map[string]string{passwordKey: "x"}, "", "", "cache.gocache.dev/hosts=git.test"},
		"a key without hosts":    {map[string]string{gitrepo.IdentityKey: "x"}, "git.test", "", "whose key is not known"},
		"a key that is none":     {map[string]string{gitrepo.IdentityKey: "x", gitrepo.KnownHostsKey: "git.test ssh-ed25519 AAAA"}, "git.test", "", "cannot be used for ssh"},
		"another image":          {map[string]string{passwordKey: "x"}, "git.test", "registry.test/git", "may not be mounted"},
		"a password, and a host": {map[string]string{passwordKey: "x", gitrepo.KnownHostsKey: "git.test ssh-ed25519 AAAA"}, "git.test", "", ""},
	} {
		p := fetcher()
		p.Spec.PrivateModules.VersionControl.Image = tt.image
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, Data: map[string][]byte{}}
		if tt.hosts != "" {
			secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: tt.hosts}
		}
		for key, value := range tt.data {
			secret.Data[key] = []byte(value)
		}
		reason, err := usable(p, secret, fetching{spec: p.Spec.PrivateModules.VersionControl})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || reason == "" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %q, %v, want an error with %q", name, reason, err, tt.want)
		}
	}
	if reason, err := usable(fetcher(), nil, fetching{spec: fetcher().Spec.PrivateModules.VersionControl}); err == nil || reason != v1alpha1.ReasonSourceNotFound {
		t.Errorf("no Secret: %q, %v", reason, err)
	}
}

// TestFetching holds what the container is given of what the spec names, and that
// the instances do not change while that is unknown.
func TestFetching(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "keys", Annotations: map[string]string{v1alpha1.HostsAnnotation: "git.test"}},
		Data:       map[string][]byte{passwordKey: []byte("x")},
	}
	f, missing, err := reconciler(t, interceptor.Funcs{}, secret).fetching(t.Context(), fetcher())
	if err != nil || len(missing) > 0 || f.secret != "keys" || f.hosts != "git.test" {
		t.Errorf("%+v, %v, %v", f, missing, err)
	}
	f, missing, err = reconciler(t, interceptor.Funcs{}).fetching(t.Context(), fetcher())
	if err != nil || len(missing) != 1 || f.secret != "" {
		t.Errorf("without the Secret: %+v, %v, %v", f, missing, err)
	}
	broken := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errors.New("for a moment")
	}}
	if _, _, err = reconciler(t, broken).fetching(t.Context(), fetcher()); err == nil {
		t.Error("a Secret that cannot be read is taken for none")
	}
	trusting := fetcher()
	trusting.Spec.PrivateModules.VersionControl.SecretRef = nil
	trusting.Spec.PrivateModules.VersionControl.TrustedCA = &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "ca"}}
	for name, config := range map[string]*corev1.ConfigMap{
		"does not exist":     {ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "another"}},
		"has no certificate": {ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ca"}, Data: map[string]string{caKey: "none"}},
	} {
		_, missing, err := reconciler(t, interceptor.Funcs{}, config).fetching(t.Context(), trusting)
		if err != nil || len(missing) != 1 || !strings.Contains(missing[0].Error(), name) {
			t.Errorf("%s: %v, %v", name, missing, err)
		}
	}
	if _, _, err := reconciler(t, broken).fetching(t.Context(), trusting); err == nil {
		t.Error("a ConfigMap that cannot be read is taken for none")
	}
	bad := fetcher()
	bad.Spec.PrivateModules.Patterns = []string{"git.test/["}
	if _, _, err := reconciler(t, interceptor.Funcs{}, secret).fetching(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "patterns[0]") {
		t.Errorf("a pattern that is none: %v", err)
	}
}

// TestAddTo holds that the container which fetches, and no other, has the keys and
// the hosts that they may be sent to.
func TestAddTo(t *testing.T) {
	p := fetcher()
	pod := &corev1.PodSpec{Containers: []corev1.Container{{Name: "server"}}}
	f := fetching{spec: p.Spec.PrivateModules.VersionControl, secret: "keys", hosts: "git.test", image: "go"}
	f.addTo(pod, "operator", p, v1alpha1.ProxyServer{Env: []v1alpha1.EnvVar{
		{Name: "HTTPS_PROXY", Value: "http://egress.test"}, {Name: "OTHER", Value: "x"}, {Name: "NO_PROXY", ValueFrom: &v1alpha1.EnvVarSource{}},
	}})
	if len(pod.Containers) != 2 || len(pod.Containers[0].VolumeMounts) > 0 {
		t.Fatalf("%+v", pod.Containers)
	}
	c := pod.Containers[1]
	command := strings.Join(c.Command, " ")
	if !strings.Contains(command, vcsKeysDir) || !strings.Contains(command, "git.test") {
		t.Errorf("%s lacks the keys or their hosts", command)
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == vcsSecret && m.ReadOnly }) {
		t.Errorf("no mount of the keys: %+v", c.VolumeMounts)
	}
	var names []string
	for _, e := range c.Env {
		names = append(names, e.Name)
	}
	if !slices.Contains(names, "HTTPS_PROXY") || slices.Contains(names, "OTHER") || slices.Contains(names, "NO_PROXY") {
		t.Errorf("variables %v", names)
	}
	for i := range pod.Volumes {
		if v := &pod.Volumes[i]; v.Name == vcsCache && (v.EmptyDir == nil || v.EmptyDir.SizeLimit.Cmp(vcsCacheSize) != 0) {
			t.Errorf("%+v", v)
		}
	}
	without := &corev1.PodSpec{}
	if fetching.addTo(fetching{}, without, "operator", p, v1alpha1.ProxyServer{}); len(without.Containers) > 0 {
		t.Error("a container without version control in the spec")
	}
}

// TestAddToWithAuthority holds that the container which fetches, and no other, gets the trusted
// authority and the resources of the spec, and that the repositories do not fill their volume.
func TestAddToWithAuthority(t *testing.T) {
	p := fetcher()
	spec := p.Spec.PrivateModules.VersionControl
	spec.SecretRef, spec.CacheSize = nil, ptr.To(resource.MustParse("1000"))
	spec.TrustedCA = &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "authority"}}
	spec.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("3")}}
	pod := &corev1.PodSpec{Containers: []corev1.Container{{Name: "server"}}}
	fetching{spec: spec, image: "go"}.addTo(pod, "operator", p, v1alpha1.ProxyServer{})
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == vcsCA })
	if i < 0 {
		t.Fatalf("no volume of the authority: %+v", pod.Volumes)
	}
	want := &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "authority"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}, Optional: ptr.To(true)}
	if diff := cmp.Diff(want, pod.Volumes[i].ConfigMap); diff != "" {
		t.Errorf("the authority (-want +got):\n%s", diff)
	}
	c := pod.Containers[1]
	if command := strings.Join(c.Command, " "); !strings.Contains(command, vcsCADir+"/ca.crt") || !strings.Contains(command, "800") || strings.Contains(command, vcsKeysDir) {
		t.Errorf("%s", command)
	}
	if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == vcsCA && m.MountPath == vcsCADir && m.ReadOnly }) || len(pod.Containers[0].VolumeMounts) > 0 {
		t.Errorf("mounts %+v", c.VolumeMounts)
	}
	if cpu := c.Resources.Limits[corev1.ResourceCPU]; cpu.Value() != 3 {
		t.Errorf("resources %+v", c.Resources)
	}
	if len(pod.InitContainers) != 1 || pod.InitContainers[0].Image != "operator" || len(pod.InitContainers[0].VolumeMounts) != 1 {
		t.Errorf("init containers %+v", pod.InitContainers)
	}
}
