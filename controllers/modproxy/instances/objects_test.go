package instances

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/policy"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/testing/failing"
)

var (
	now       = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	errBroken = errors.New("the server is down")
)

// applied lets a reconciler's client record what it applies, in place of applying it.
func applied(r *Reconciler, text *strings.Builder) {
	r.Client = interceptor.NewClient(r.Client.(client.WithWatch), interceptor.Funcs{
		Apply: func(_ context.Context, _ client.WithWatch, o runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
			object, err := yaml.Marshal(o)
			text.WriteString("---\n" + string(object))
			return err
		},
	})
}

// fails lets all writes of a kind fail.
func failingWrites() interceptor.Funcs {
	return interceptor.Funcs{
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return errBroken
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return errBroken },
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return errBroken },
	}
}

// failingReads lets the reads of objects of one type fail.
func failingReads[T client.Object]() interceptor.Funcs {
	return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		if _, is := o.(T); is {
			return errBroken
		}
		return c.Get(ctx, key, o, options...)
	}}
}

// everything is a proxy with an instance of each server, and all that pods depend on.
func everything() *v1alpha1.ModProxy {
	p := upstream("https://proxy.test|direct")
	p.UID = "p"
	p.Spec.ChecksumDatabase = "sum.test+1+key"
	storage := func() *v1alpha1.InstanceStorage {
		return &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi"), StorageClassName: ptr.To("fast"), DeletionPolicy: v1alpha1.DeletionDelete, MaxUsedPercent: ptr.To[int32](80)}
	}
	p.Spec.Instances = []v1alpha1.ProxyInstance{
		{Name: "blue", Storage: storage()},
		{Name: "green", Storage: storage()},
		{Name: "athens", Storage: storage(), Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}},
		{Name: "custom", Storage: storage(), Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "example.test/proxy:1", Args: []string{"serve"}, Port: ptr.To[int32](9000)}},
		{Name: "external", External: &v1alpha1.ExternalInstance{URL: "https://external.test"}},
	}
	p.Spec.Server = &v1alpha1.ProxyServer{Env: []v1alpha1.EnvVar{
		{Name: "HTTPS_PROXY", Value: "http://egress.test"},
		{Name: "GOSUMDB", Value: "off"},
		{Name: "TOKEN", ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: v1alpha1.SecretKeyReference{Name: "login", Key: "password"}}},
	}}
	p.Spec.Policy = &v1alpha1.ProxyPolicy{Deny: []v1alpha1.PolicyRule{{Name: "cve", Modules: []string{"example.com/bad"}, Versions: []string{"v1.0.0"}, Reason: "r"}}}
	p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{
		PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.test/team", "*.corp.test"}}, SecretRef: &v1alpha1.LocalReference{Name: "login"},
		VersionControl: &v1alpha1.ProxyVersionControl{SecretRef: &v1alpha1.LocalReference{Name: "keys"}, CacheSize: ptr.To(resource.MustParse("5Gi"))},
	}
	p.Spec.Integrity.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "green", Quarantined: &v1alpha1.Quarantine{}}}
	return p
}

// inputs are the objects of the user that everything names.
func inputs() []client.Object {
	return []client.Object{
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "a"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "login", Annotations: map[string]string{
			v1alpha1.HostsAnnotation: "proxy.test", v1alpha1.ImagesAnnotation: "operator:1,athens:1,example.test/proxy:1",
		}}, Data: map[string][]byte{netrcKey: []byte("machine proxy.test"), passwordKey: []byte("x")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "keys", Annotations: map[string]string{v1alpha1.HostsAnnotation: "git.test"}}, Data: map[string][]byte{passwordKey: []byte("x")}},
	}
}

// TestObjectsGolden holds all that is applied for a proxy: its policies, and the Service,
// the PVC and the StatefulSet of each instance.
func TestObjectsGolden(t *testing.T) {
	r := reconciler(t, interceptor.Funcs{}, inputs()...)
	r.Images = images.Images{Operator: "operator:1", Toolchain: "golang:1", Athens: "athens:1"}
	r.ManagerNamespace, r.Advisories = "gocache-system", &Advisories{}
	var text strings.Builder
	applied(&r, &text)
	p := everything()
	var out Result
	out, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p, Now: now})
	if err := errors.Join(err, r.NameQuarantined(t.Context(), p), r.LimitEvictions(t.Context(), p, now)); err != nil {
		t.Fatal(err)
	}
	if out.Wake != pass.ConfirmInterval {
		t.Errorf("the token that was created is read in %s", out.Wake)
	}
	objects := slices.DeleteFunc(strings.SplitAfter(text.String(), "---\n"), func(o string) bool {
		return strings.Contains(o, "\n  name: p-green\n") // as those of blue
	})
	got, golden := strings.Join(objects, ""), filepath.Join("testdata", "objects.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the objects differ from %s; set UPDATE_GOLDEN=1 to accept (-want +got):\n%s", golden, diff)
	}
}

// TestReconcileStops holds that nothing is changed while it is not known what pods are to
// have, or while what protects them cannot be written.
func TestReconcileStops(t *testing.T) {
	for name, tt := range map[string]struct {
		live interceptor.Funcs
		lack string // an input that does not exist
		want string // in the error
	}{
		"the trust data is not read":    {failingReads[*corev1.ConfigMap](), "", errBroken.Error()},
		"the trust data does not exist": {interceptor.Funcs{}, "sums", "ConfigMap sums"},
		"a Secret is not read":          {failingReads[*corev1.Secret](), "", errBroken.Error()},
	} {
		objects := slices.DeleteFunc(inputs(), func(o client.Object) bool { return o.GetName() == tt.lack })
		r := reconciler(t, tt.live, objects...)
		r.Images = images.Images{Operator: "operator:1", Athens: "athens:1"}
		r.Advisories = &Advisories{}
		var text strings.Builder
		applied(&r, &text)
		p := everything()
		if _, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p}); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(text.String(), "kind: StatefulSet") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := everything()
	p.Spec.Instances = p.Spec.Instances[4:]
	r := reconciler(t, interceptor.Funcs{}, inputs()...)
	var text strings.Builder
	applied(&r, &text)
	if _, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p}); err != nil || text.Len() > 0 {
		t.Errorf("external instances alone: %v, applied %s", err, text.String())
	}
}

// TestReconcileGoesOn holds that an instance that lacks something does not keep the others
// from theirs.
func TestReconcileGoesOn(t *testing.T) {
	for name, tt := range map[string]struct {
		lack   string
		change func(*v1alpha1.ModProxy)
		sets   []string
		want   string
	}{
		"no image of Athens": {"", func(*v1alpha1.ModProxy) {}, []string{"p-blue", "p-green", "p-custom"}, "spec.instances[athens]: server.type Athens needs server.image"},
		"no Secret":          {"login", func(p *v1alpha1.ModProxy) { p.Spec.Instances[2].Server.Image = "athens:1" }, []string{"p-blue", "p-green", "p-athens", "p-custom"}, "Secret login does not exist"},
		"no keys":            {"keys", func(p *v1alpha1.ModProxy) { p.Spec.Instances[2].Server.Image = "athens:1" }, []string{"p-blue", "p-green", "p-athens", "p-custom"}, "Secret keys does not exist"},
	} {
		p := everything()
		tt.change(p)
		r := reconciler(t, interceptor.Funcs{}, slices.DeleteFunc(inputs(), func(o client.Object) bool { return o.GetName() == tt.lack })...)
		r.Images, r.Advisories = images.Images{Operator: "operator:1", Toolchain: "golang:1"}, &Advisories{}
		_, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, set := range []string{"p-blue", "p-green", "p-athens", "p-custom"} {
			found, err := read.Object[appsv1.StatefulSet](t.Context(), r.Client, "n", set)
			if err != nil || (found != nil) != slices.Contains(tt.sets, set) {
				t.Errorf("%s: %s exists: %t, %v", name, set, found != nil, err)
			}
		}
	}
}

// TestReplacedStore holds that the PVC of a store that is being replaced is left alone.
func TestReplacedStore(t *testing.T) {
	p := pair()
	p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
	r := reconciler(t, interceptor.Funcs{})
	if _, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"p-blue": false, "p-green": true} {
		if pvc, err := read.Object[corev1.PersistentVolumeClaim](t.Context(), r.Client, "n", name); err != nil || (pvc != nil) != want {
			t.Errorf("PVC %s exists: %t, %v", name, pvc != nil, err)
		}
	}
}

// TestAthensRefuses holds what Athens cannot be given.
func TestAthensRefuses(t *testing.T) {
	p := everything()
	p.Spec.Upstream.Proxy = "https://proxy.test;GOFLAGS=-x"
	r := Reconciler{Images: images.Images{Athens: "athens:1"}}
	if _, err := r.athens(p, &p.Spec.Instances[2], v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}, credentials{}); err == nil || !strings.Contains(err.Error(), "a semicolon ends a value there") {
		t.Errorf("a semicolon: %v", err)
	}
}

// TestServerPort holds which port a server listens on, and which image it runs in.
func TestServerPort(t *testing.T) {
	r := Reconciler{Images: images.Images{Operator: "operator:1", Athens: "athens:1"}}
	for _, tt := range []struct {
		server v1alpha1.ProxyServer
		port   int32
		image  string
	}{
		{v1alpha1.ProxyServer{Type: v1alpha1.ServerGoproxy, Port: ptr.To[int32](1)}, 8080, "operator:1"},
		{v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}, 3000, "athens:1"},
		{v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens, Port: ptr.To[int32](1), Image: "own:1"}, 1, "own:1"},
		{v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "own:1"}, 8080, "own:1"},
		{v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Port: ptr.To[int32](1), Image: "own:1"}, 1, "own:1"},
	} {
		if port, image := serverPort(tt.server), r.imageOf(tt.server); port != tt.port || image != tt.image {
			t.Errorf("%+v: port %d, image %s", tt.server, port, image)
		}
	}
}

// TestLimitEvictions holds how many instances may be evicted at once: one, and no others
// beside those that are lost for long.
func TestLimitEvictions(t *testing.T) {
	down := func(kind v1alpha1.ProbeKind, ago time.Duration) []v1alpha1.FailingProbe {
		return []v1alpha1.FailingProbe{{Kind: kind, Since: metav1.NewTime(now.Add(-ago))}}
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ModProxy)
		want   int // pods that stay; -1: there is no budget
	}{
		"two serve": {func(*v1alpha1.ModProxy) {}, 1},
		"one is lost": {func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].FailingProbes = down(v1alpha1.ProbeReady, 15*time.Minute)
		}, 0},
		"one is lost by another probe": {func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].FailingProbes = down(v1alpha1.ProbeProtocol, 15*time.Minute)
		}, 0},
		"one is gone for a moment": {func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].FailingProbes = down(v1alpha1.ProbeReady, 15*time.Minute-time.Second)
		}, 1},
		"one is reported by another probe": {func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].FailingProbes = down(v1alpha1.ProbeChecksum, 15*time.Minute)
		}, 1},
		"both are lost": {func(p *v1alpha1.ModProxy) {
			for i := range p.Status.Instances {
				p.Status.Instances[i].FailingProbes = down(v1alpha1.ProbeReady, 15*time.Minute)
			}
		}, 0},
		"there is one":          {func(p *v1alpha1.ModProxy) { p.Spec.Instances = p.Spec.Instances[:1] }, -1},
		"the other is external": {func(p *v1alpha1.ModProxy) { p.Spec.Instances[1].External = &v1alpha1.ExternalInstance{} }, -1},
		"three serve, of which one is new": {func(p *v1alpha1.ModProxy) {
			p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: "red"})
		}, 2},
		"four serve, of which one is lost ": {func(p *v1alpha1.ModProxy) {
			p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: "red"}, v1alpha1.ProxyInstance{Name: "grey"})
			p.Status.Instances[0].FailingProbes = down(v1alpha1.ProbeReady, time.Hour)
		}, 2},
	} {
		p := pair()
		tt.change(p)
		old := budget(p, "p-instances", 7)
		old.OwnerReferences = set("x").OwnerReferences
		old.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
		r := reconciler(t, interceptor.Funcs{}, old)
		if err := r.LimitEvictions(t.Context(), p, now); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found, err := read.Object[policyv1.PodDisruptionBudget](t.Context(), r.Client, "n", "p-instances")
		if err != nil {
			t.Fatal(err)
		}
		got := -1
		if found != nil {
			got = found.Spec.MinAvailable.IntValue()
		}
		if got != tt.want {
			t.Errorf("%s: %d stay, want %d", name, got, tt.want)
		}
	}
	foreign := budget(pair(), "p-instances", 7)
	r := reconciler(t, interceptor.Funcs{}, foreign)
	p := pair()
	p.Spec.Instances = p.Spec.Instances[:1]
	if err := r.LimitEvictions(t.Context(), p, now); err != nil {
		t.Fatal(err)
	}
	if found, err := read.Object[policyv1.PodDisruptionBudget](t.Context(), r.Client, "n", "p-instances"); err != nil || found == nil {
		t.Errorf("the budget of another owner is gone: %v", err)
	}
	r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingReads[*policyv1.PodDisruptionBudget]())
	if err := r.LimitEvictions(t.Context(), p, now); !errors.Is(err, errBroken) {
		t.Errorf("a budget that cannot be read: %v", err)
	}
	r = reconciler(t, interceptor.Funcs{})
	r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingWrites())
	if err := r.LimitEvictions(t.Context(), pair(), now); !errors.Is(err, errBroken) {
		t.Errorf("a budget that cannot be written: %v", err)
	}
}

// TestNameQuarantined holds which instances the servers must not ask.
func TestNameQuarantined(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ModProxy)
		want   string // "-": there is no ConfigMap
	}{
		"none": {func(*v1alpha1.ModProxy) {}, ""},
		"one":  {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].Quarantined = &v1alpha1.Quarantine{} }, "http://p-blue.n.svc:8080\n"},
		"both": {func(p *v1alpha1.ModProxy) {
			for i := range p.Status.Instances {
				p.Status.Instances[i].Quarantined = &v1alpha1.Quarantine{}
			}
		}, "http://p-blue.n.svc:8080\nhttp://p-green.n.svc:8080\n"},
		"there is one": {func(p *v1alpha1.ModProxy) { p.Spec.Instances[1].External = &v1alpha1.ExternalInstance{} }, "-"},
	} {
		p := pair()
		tt.change(p)
		r := reconciler(t, interceptor.Funcs{})
		if err := r.NameQuarantined(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		config, err := read.Object[corev1.ConfigMap](t.Context(), r.Client, "n", "p-peers")
		if err != nil {
			t.Fatal(err)
		}
		got := "-"
		if config != nil {
			got = config.Data["quarantined"]
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	r := reconciler(t, interceptor.Funcs{})
	r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingWrites())
	if err := r.NameQuarantined(t.Context(), pair()); !errors.Is(err, errBroken) {
		t.Errorf("a ConfigMap that cannot be written: %v", err)
	}
}

// TestPolicy holds which peers reach the pods of the instances.
func TestPolicy(t *testing.T) {
	admitted := func(p *v1alpha1.ModProxy, servers ...int32) (all []string) {
		for _, rule := range (Reconciler{ManagerNamespace: "gocache-system"}).policy(p, "p", servers).Spec.Ingress {
			var ports []string
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
			all = append(all, fmt.Sprintf("%d peers: %s", len(rule.From), strings.Join(ports, " ")))
		}
		return all
	}
	p := pair()
	base := admitted(p, 8080)
	if !slices.Contains(base, "2 peers: 8080 9103") || !slices.Contains(base, "1 peers: 8080") {
		t.Errorf("HAProxy, the manager and the other instances: %q", base)
	}
	scraped := func(all []string) bool {
		return slices.ContainsFunc(all, func(s string) bool { return strings.HasSuffix(s, ": 9103 9104") })
	}
	if !scraped(base) {
		t.Errorf("scrapers: %q", base)
	}
	if got := admitted(p, 8080, 9104); scraped(got) {
		t.Errorf("scrapers reach a server: %q", got)
	}
	for _, router := range []v1alpha1.RouterType{v1alpha1.RouterGateway, v1alpha1.RouterService} {
		p.Spec.Router.Type = router
		if got := admitted(p, 8080); len(got) != len(base)+1 {
			t.Errorf("clients of router %s: %q", router, got)
		}
	}
	own := []*v1alpha1.ProxyInstance{&p.Spec.Instances[0], &p.Spec.Instances[1]}
	former := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-instances", OwnerReferences: set("x").OwnerReferences}}
	for mode, written := range map[v1alpha1.NetworkPolicyMode]bool{v1alpha1.NetworkPolicyManaged: true, v1alpha1.NetworkPolicyNone: false} {
		r := reconciler(t, interceptor.Funcs{}, former)
		r.ManagerNamespace = "gocache-system"
		var text strings.Builder
		applied(&r, &text)
		p.Spec.NetworkPolicy = mode
		if err := r.ensurePolicy(t.Context(), p, own); err != nil {
			t.Fatal(err)
		}
		if found, err := read.Object[networkingv1.NetworkPolicy](t.Context(), r.Client, "n", "p-instances"); err != nil || (found != nil) != written || (text.Len() > 0) != written {
			t.Errorf("%s: exists %t, written %t, %v", mode, found != nil, text.Len() > 0, err)
		}
	}
}

// TestRemoveFormer holds what is deleted of an instance that the spec no longer names.
func TestRemoveFormer(t *testing.T) {
	owned := func(o client.Object, own bool) client.Object {
		o.SetNamespace("n")
		o.SetName("p-former")
		if own {
			o.SetOwnerReferences(set("x").OwnerReferences)
		}
		return o
	}
	former := func(instance string, own bool) *appsv1.StatefulSet {
		s := owned(&appsv1.StatefulSet{}, own).(*appsv1.StatefulSet)
		s.Labels = map[string]string{v1alpha1.ProxyLabel: "p", v1alpha1.InstanceLabel: instance}
		return s
	}
	for name, tt := range map[string]struct {
		set          *appsv1.StatefulSet
		pvc, service client.Object
		change       func(*v1alpha1.ModProxy)
		setLeft      bool
		pvcLeft      bool
		serviceLeft  bool
	}{
		"all are its own":       {former("former", true), owned(&corev1.PersistentVolumeClaim{}, true), owned(&corev1.Service{}, true), func(*v1alpha1.ModProxy) {}, false, false, false},
		"its store is kept":     {former("former", true), owned(&corev1.PersistentVolumeClaim{}, false), owned(&corev1.Service{}, true), func(*v1alpha1.ModProxy) {}, false, true, false},
		"another's Service":     {former("former", true), owned(&corev1.PersistentVolumeClaim{}, true), owned(&corev1.Service{}, false), func(*v1alpha1.ModProxy) {}, false, false, true},
		"another's StatefulSet": {former("former", false), owned(&corev1.PersistentVolumeClaim{}, true), owned(&corev1.Service{}, true), func(*v1alpha1.ModProxy) {}, true, true, true},
		"it is in the spec":     {former("blue", true), owned(&corev1.PersistentVolumeClaim{}, true), owned(&corev1.Service{}, true), func(*v1alpha1.ModProxy) {}, true, true, true},
		"its store is replaced": {former("former", true), owned(&corev1.PersistentVolumeClaim{}, true), owned(&corev1.Service{}, true), func(p *v1alpha1.ModProxy) {
			p.Status.Instances = append(p.Status.Instances, v1alpha1.InstanceStatus{Name: "former", VolumeReplacement: &v1alpha1.VolumeReplacementStatus{}})
		}, true, true, true},
	} {
		p := pair()
		tt.change(p)
		r := reconciler(t, interceptor.Funcs{}, tt.set, tt.pvc, tt.service)
		if err := r.RemoveFormer(t.Context(), p, pass.Observed{Stored: pair()}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		set, err1 := read.Object[appsv1.StatefulSet](t.Context(), r.Client, "n", "p-former")
		pvc, err2 := read.Object[corev1.PersistentVolumeClaim](t.Context(), r.Client, "n", "p-former")
		service, err3 := read.Object[corev1.Service](t.Context(), r.Client, "n", "p-former")
		if err := errors.Join(err1, err2, err3); err != nil || (set != nil) != tt.setLeft || (pvc != nil) != tt.pvcLeft || (service != nil) != tt.serviceLeft {
			t.Errorf("%s: left: StatefulSet %t, PVC %t, Service %t; %v", name, set != nil, pvc != nil, service != nil, err)
		}
	}
}

// TestRemoveFormerFails holds that the StatefulSet stays, by which the rest is found, until
// the rest is gone.
func TestRemoveFormerFails(t *testing.T) {
	listFails := interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errBroken
	}}
	refuses := func(kind string) interceptor.Funcs {
		return interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			if fmt.Sprintf("%T", o) == kind {
				return errBroken
			}
			return c.Delete(ctx, o, options...)
		}}
	}
	for name, tt := range map[string]struct{ client, live interceptor.Funcs }{
		"the list":                {listFails, interceptor.Funcs{}},
		"the PVC":                 {failingReads[*corev1.PersistentVolumeClaim](), interceptor.Funcs{}},
		"the Service":             {interceptor.Funcs{}, failingReads[*corev1.Service]()},
		"deletion of the PVC":     {refuses("*v1.PersistentVolumeClaim"), interceptor.Funcs{}},
		"deletion of the Service": {refuses("*v1.Service"), interceptor.Funcs{}},
	} {
		former := set("p-former")
		former.Labels = map[string]string{v1alpha1.ProxyLabel: "p", v1alpha1.InstanceLabel: "former"}
		meta := metav1.ObjectMeta{Namespace: "n", Name: "p-former", OwnerReferences: former.OwnerReferences}
		r := reconciler(t, tt.live, former, &corev1.PersistentVolumeClaim{ObjectMeta: meta}, &corev1.Service{ObjectMeta: meta})
		cluster := r.Client
		r.Client = interceptor.NewClient(cluster.(client.WithWatch), tt.client)
		if err := r.RemoveFormer(t.Context(), pair(), pass.Observed{Stored: pair()}); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
		if found, err := read.Object[appsv1.StatefulSet](t.Context(), cluster, "n", "p-former"); err != nil || found == nil {
			t.Errorf("%s: the StatefulSet is gone, %v", name, err)
		}
	}
}

// TestEnsureStore holds what becomes of the PVC of a store when its spec changes, and what
// is reported that it cannot become.
func TestEnsureStore(t *testing.T) {
	for name, tt := range map[string]struct {
		spec  string // size
		class *string
		rigid bool
		size  string
		want  string // in the error; empty: none
		owned bool
	}{
		"as it is":               {"2Gi", nil, false, "2Gi", "", false},
		"the class that it has":  {"2Gi", ptr.To("fast"), false, "2Gi", "", false},
		"more":                   {"3Gi", nil, false, "3Gi", "", false},
		"more, of a rigid class": {"3Gi", nil, true, "2Gi", "spec.instances[blue].storage.size: ", false},
		"less":                   {"1Gi", nil, false, "2Gi", "spec.instances[blue].storage.size is 1Gi, and PVC p-blue requests 2Gi: a PVC cannot shrink. Take it back", false},
		"another class":          {"3Gi", ptr.To("slow"), false, "3Gi", `spec.instances[blue].storage.storageClassName is "slow", and PVC p-blue has "fast": a PVC cannot move to another class`, false},
		"it goes with the proxy": {"2Gi", nil, false, "2Gi", "", true},
	} {
		p := pair()
		instance := &p.Spec.Instances[0]
		instance.Storage = &v1alpha1.InstanceStorage{Size: resource.MustParse(tt.spec), StorageClassName: tt.class}
		if tt.owned {
			instance.Storage.DeletionPolicy = v1alpha1.DeletionDelete
		}
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-blue", UID: "u", Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ProxyLabel: "p", v1alpha1.InstanceLabel: "blue"}}}
		pvc.Spec.StorageClassName, pvc.Spec.VolumeName, pvc.Status.Phase = ptr.To("fast"), "v", corev1.ClaimBound
		pvc.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
		r := reconciler(t, interceptor.Funcs{}, pvc, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, AllowVolumeExpansion: ptr.To(!tt.rigid)})
		err := r.ensureStore(t.Context(), p, instance)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || conditions.Stalled(err) == nil) {
			t.Errorf("%s: %v", name, err)
		}
		got, err := read.Object[corev1.PersistentVolumeClaim](t.Context(), r.Client, "n", "p-blue")
		if err != nil || got == nil {
			t.Fatal(err)
		}
		if size := got.Spec.Resources.Requests[corev1.ResourceStorage]; size.String() != tt.size || *got.Spec.StorageClassName != "fast" || metav1.IsControlledBy(got, p) != tt.owned {
			t.Errorf("%s: size %s, %+v", name, size.String(), got)
		}
	}
	for name, change := range map[string]func(*Reconciler){
		"the PVC": func(r *Reconciler) {
			r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingReads[*corev1.PersistentVolumeClaim]())
		},
		"the write": func(r *Reconciler) { r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingWrites()) },
	} {
		p, r := pair(), reconciler(t, interceptor.Funcs{})
		if change(&r); !errors.Is(r.ensureStore(t.Context(), p, &p.Spec.Instances[0]), errBroken) {
			t.Errorf("%s fails without an error", name)
		}
	}
}

// TestToken holds that the token of the agents is created once, and that a Secret of
// another owner is not taken for it.
func TestToken(t *testing.T) {
	p := pair()
	r := reconciler(t, interceptor.Funcs{})
	var out Result
	if err := r.ensureToken(t.Context(), p, pass.Observed{}, &out); err != nil || out.Wake != pass.ConfirmInterval {
		t.Fatalf("%v, wakes in %s", err, out.Wake)
	}
	token, err := Token(t.Context(), r.Live, p)
	if err != nil || len(token) < 20 {
		t.Fatalf("%q, %v", token, err)
	}
	if err := r.ensureToken(t.Context(), p, pass.Observed{}, &out); err != nil {
		t.Error(err)
	}
	if again, err := Token(t.Context(), r.Live, p); err != nil || again != token {
		t.Errorf("the token changed, %v", err)
	}
	out = Result{}
	if err := r.ensureToken(t.Context(), p, pass.Observed{Token: token}, &out); err != nil || out.Wake != 0 {
		t.Errorf("a token that is known: %v, wakes in %s", err, out.Wake)
	}
	other := pair()
	other.UID = "q"
	if got, err := Token(t.Context(), r.Live, other); err != nil || got != "" {
		t.Errorf("the token of another owner: %q, %v", got, err)
	}
	if err := r.ensureToken(t.Context(), other, pass.Observed{}, &Result{}); err == nil || !strings.Contains(err.Error(), "Secret p-agent is not this ModProxy's") {
		t.Errorf("the Secret of another owner: %v", err)
	}
	broken := reconciler(t, failingReads[*corev1.Secret]())
	if _, err := Token(t.Context(), broken.Live, p); !errors.Is(err, errBroken) {
		t.Errorf("a Secret that cannot be read: %v", err)
	}
	if err := broken.ensureToken(t.Context(), p, pass.Observed{}, &Result{}); !errors.Is(err, errBroken) {
		t.Errorf("a Secret that cannot be read: %v", err)
	}
	r = reconciler(t, interceptor.Funcs{})
	r.Client = interceptor.NewClient(r.Client.(client.WithWatch), failingWrites())
	if err := r.ensureToken(t.Context(), p, pass.Observed{}, &Result{}); !errors.Is(err, errBroken) {
		t.Errorf("a Secret that cannot be created: %v", err)
	}
}

// TestPermitted holds which variables of a server are read from Secrets: none that does not
// allow the image.
func TestPermitted(t *testing.T) {
	secret := func(images string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "login", Annotations: map[string]string{}}, Data: map[string][]byte{"token": []byte("x")}}
		if images != "" {
			s.Annotations[v1alpha1.ImagesAnnotation] = images
		}
		return s
	}
	for name, tt := range map[string]struct {
		secret *corev1.Secret
		key    string
		kept   int
		reason string
	}{
		"it allows the image":   {secret("own:1"), "token", 2, ""},
		"it allows another one": {secret("other:1"), "token", 1, v1alpha1.ReasonSecretRefused},
		"it lacks the key":      {secret("own:1"), "other", 1, v1alpha1.ReasonSourceNotFound},
		"it does not exist":     {func() *corev1.Secret { s := secret("own:1"); s.Name = "another"; return s }(), "token", 1, v1alpha1.ReasonSourceNotFound},
	} {
		p := pair()
		p.Spec.Instances[0].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "own:1", Env: []v1alpha1.EnvVar{
			{Name: "A", ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: v1alpha1.SecretKeyReference{Name: "login", Key: tt.key}}}, {Name: "B", Value: "b"},
		}}
		server, refused, err := reconciler(t, interceptor.Funcs{}, tt.secret).permitted(t.Context(), p, &p.Spec.Instances[0])
		if err != nil || len(server.Env) != tt.kept || server.Env[tt.kept-1].Name != "B" || (len(refused) > 0) != (tt.reason != "") {
			t.Errorf("%s: %+v, %v, %v", name, server.Env, refused, err)
			continue
		}
		if tt.reason != "" {
			if stalled := conditions.Stalled(refused[0]); stalled == nil || stalled.Reason != tt.reason || stalled.RetryAfter != 15*time.Second || !strings.HasPrefix(stalled.Message, "Instance blue runs without server.env A: ") {
				t.Errorf("%s: %v", name, refused)
			}
		}
	}
	p := pair()
	p.Spec.Instances[0].Server = &v1alpha1.ProxyServer{Env: []v1alpha1.EnvVar{{Name: "A", ValueFrom: &v1alpha1.EnvVarSource{SecretKeyRef: v1alpha1.SecretKeyReference{Name: "login", Key: "token"}}}}}
	if _, _, err := reconciler(t, failingReads[*corev1.Secret]()).permitted(t.Context(), p, &p.Spec.Instances[0]); !errors.Is(err, errBroken) {
		t.Errorf("a Secret that cannot be read: %v", err)
	}
}

// TestPrivateSecret holds which Secret for private modules is used.
func TestPrivateSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		data   map[string]string
		hosts  string
		reason string
	}{
		"a password":   {map[string]string{passwordKey: "x"}, "proxy.test", ""},
		"netrc":        {map[string]string{netrcKey: "x"}, "proxy.test", ""},
		"neither":      {map[string]string{"other": "x"}, "proxy.test", v1alpha1.ReasonSourceNotFound},
		"another host": {map[string]string{passwordKey: "x"}, "other.test", v1alpha1.ReasonSecretRefused},
	} {
		p := upstream("https://proxy.test")
		p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{SecretRef: &v1alpha1.LocalReference{Name: "login"}}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "login", Annotations: map[string]string{v1alpha1.HostsAnnotation: tt.hosts}}, Data: map[string][]byte{}}
		for key, value := range tt.data {
			secret.Data[key] = []byte(value)
		}
		got, err := reconciler(t, interceptor.Funcs{}, secret).privateSecret(t.Context(), p)
		if (got != nil) != (tt.reason == "") || (err == nil) != (tt.reason == "") {
			t.Errorf("%s: %v, %v", name, got != nil, err)
		} else if stalled := conditions.Stalled(err); err != nil && (stalled == nil || stalled.Reason != tt.reason || !strings.HasPrefix(stalled.Message, "The instances run without spec.privateModules.secretRef: ")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]*v1alpha1.ModProxy{"no private modules": upstream(""), "no Secret": func() *v1alpha1.ModProxy {
		p := upstream("")
		p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{}
		return p
	}()} {
		if got, err := reconciler(t, failingReads[*corev1.Secret]()).privateSecret(t.Context(), p); got != nil || err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCredentials holds which keys of a Secret the server of an instance has.
func TestCredentials(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login", Annotations: map[string]string{v1alpha1.HostsAnnotation: "proxy.test", v1alpha1.ImagesAnnotation: "athens:1"}}, Data: map[string][]byte{netrcKey: []byte("x")}}
	r := Reconciler{Images: images.Images{Operator: "operator:1", Athens: "athens:1"}}
	for name, tt := range map[string]struct {
		server *v1alpha1.ProxyServer
		secret *corev1.Secret
		keys   []string
		reason string
	}{
		"our server":               {nil, secret, []string{"netrc", "username", "password"}, ""},
		"Athens":                   {&v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}, secret, []string{"netrc"}, ""},
		"Athens without netrc":     {&v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}, &corev1.Secret{ObjectMeta: secret.ObjectMeta}, nil, v1alpha1.ReasonSourceNotFound},
		"an image without consent": {&v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "own:1"}, secret, nil, v1alpha1.ReasonSecretRefused},
		"no Secret":                {&v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom, Image: "own:1"}, nil, nil, ""},
	} {
		p := pair()
		p.Spec.Instances[0].Server = tt.server
		c, err := r.credentials(p, &p.Spec.Instances[0], tt.secret)
		if !slices.Equal(c.keys, tt.keys) || (err == nil) != (tt.reason == "") || tt.keys != nil && (c.hosts != "proxy.test" || c.secret != "login") || tt.keys == nil && c.secret != "" {
			t.Errorf("%s: %+v, %v", name, c, err)
		} else if stalled := conditions.Stalled(err); err != nil && (stalled == nil || stalled.Reason != tt.reason || !strings.HasPrefix(stalled.Message, "Instance blue runs without spec.privateModules.secretRef: ")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExampleHost holds the host of a command that a user can copy.
func TestExampleHost(t *testing.T) {
	for pattern, want := range map[string]string{"git.test/team": "git.test", "git.test": "git.test", "*.corp.test/x": "*.corp.test", "git.*/x": "git.example.com", "*": "git.example.com", "[a]": "git.example.com"} {
		p := fetcher()
		p.Spec.PrivateModules.Patterns = []string{pattern, "other.test"}
		if got := exampleHost(p); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}

// TestFetchingImage holds which image private modules are fetched in, and that the
// authorities of a Secret take the place of those of trustedCA.
func TestFetchingImage(t *testing.T) {
	r := reconciler(t, interceptor.Funcs{})
	r.Images.Toolchain = "golang:{version}"
	p := fetcher()
	p.Spec.PrivateModules.VersionControl.TrustedCA = &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "ca"}}
	f, missing, err := r.fetching(t.Context(), p)
	if err != nil || len(missing) != 1 || !strings.HasPrefix(f.image, "golang:1.") || f.trusts() {
		t.Errorf("%+v, %v, %v", f, missing, err)
	}
	if stalled := conditions.Stalled(missing[0]); stalled == nil || stalled.Reason != v1alpha1.ReasonSourceNotFound || stalled.Message != "Private modules are fetched without spec.privateModules.versionControl.secretRef: Secret keys does not exist. It is read again every 15s" {
		t.Errorf("%v", missing)
	}
	p.Spec.PrivateModules.VersionControl.Image, p.Spec.PrivateModules.VersionControl.SecretRef = "own:1", nil
	if f, _, err := r.fetching(t.Context(), p); err != nil || f.image != "own:1" || !f.trusts() {
		t.Errorf("%+v, %v", f, err)
	}
	pod := &corev1.PodSpec{}
	f.spec = p.Spec.PrivateModules.VersionControl
	f.spec.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"memory": resource.MustParse("3Gi")}}
	f.addTo(pod, "operator:1", p, v1alpha1.ProxyServer{})
	if command := strings.Join(pod.Containers[0].Command, " "); !strings.Contains(command, "/etc/gocache-vcs/ca/ca.crt") || pod.Containers[0].Resources.Limits.Memory().String() != "3Gi" || pod.InitContainers[0].Name != "install" {
		t.Errorf("%s, %+v", command, pod.Containers[0].Resources)
	}
	if got := f.flags(p); !slices.Equal(got, []string{"--version-control", "http://127.0.0.1:9105", "--private-modules", "git.test/team"}) || fetching.flags(fetching{}, p) != nil {
		t.Errorf("flags %q", got)
	}
}

// TestAdvisories holds which ConfigMaps of advisories are refused, and that one is parsed
// again when it changes.
func TestAdvisories(t *testing.T) {
	const one = `{"id":"A","affected":[{"package":{"ecosystem":"Go","name":"a.b/c"},"versions":["1.0.0"]}]}`
	config := func(version string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "osv", UID: "u", ResourceVersion: version}, Data: data}
	}
	binary := config("1", map[string]string{"a": one})
	binary.BinaryData = map[string][]byte{"b": nil}
	for name, tt := range map[string]struct {
		config *corev1.ConfigMap
		want   string
	}{
		"none": {nil, " does not exist"}, "binary": {binary, " has binaryData"}, "empty": {config("1", nil), " has no key"},
		"no advisories": {config("1", map[string]string{"b": one, "a": "nonsense"}), ", key a: "},
	} {
		if all, _, err := new(Advisories).in(tt.config); err == nil || !strings.HasPrefix(err.Error(), tt.want) || all != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var a Advisories
	first, size, err := a.in(config("1", map[string]string{"a": one, "b": one}))
	if err != nil || len(first) != 2 || size == 0 || a.size != size {
		t.Fatalf("%d advisories of %d bytes, %v", len(first), size, err)
	}
	if got := sizeOf(&first[0]); size != 2*got || got != len(`{"id":"A","affected":[{"module":"a.b/c"},"v1.0.0",]},`)+len(first[0].Reason) {
		t.Errorf("%d bytes each", got)
	}
	if same, n, err := a.in(config("1", map[string]string{"a": "nonsense"})); err != nil || len(same) != 2 || n != size {
		t.Errorf("one that is remembered is parsed again: %d, %v", len(same), err)
	}
	if other, n, err := a.in(config("2", map[string]string{"a": one})); err != nil || len(other) != 1 || 2*n != size || a.size != n {
		t.Errorf("one that has changed: %d of %d bytes, %d are counted, %v", len(other), n, a.size, err)
	}
	p := pair()
	p.Spec.Policy = &v1alpha1.ProxyPolicy{Advisories: []v1alpha1.AdvisorySource{{ConfigMapRef: v1alpha1.LocalReference{Name: "osv"}}}}
	all, err := new(Advisories).of(t.Context(), reconciler(t, interceptor.Funcs{}, config("", map[string]string{"a": one})).Live, p)
	if err != nil || len(all) != 1 || all[0].ID != "A" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := new(Advisories).of(t.Context(), reconciler(t, interceptor.Funcs{}).Live, p); err == nil || !strings.Contains(err.Error(), "spec.policy.advisories[0]: ConfigMap osv does not exist. Correct it") {
		t.Errorf("%v", err)
	}
	if _, err := new(Advisories).of(t.Context(), reconciler(t, failingReads[*corev1.ConfigMap]()).Live, p); !errors.Is(err, errBroken) {
		t.Errorf("one that cannot be read: %v", err)
	}
}

// TestEnsureRules holds that the rules reach the instances, and that none are written that
// cannot be read or would be refused.
func TestEnsureRules(t *testing.T) {
	p := pair()
	r := reconciler(t, interceptor.Funcs{})
	r.Advisories = &Advisories{}
	rules := func() string {
		config, err := read.Object[corev1.ConfigMap](t.Context(), r.Client, "n", "p-policy")
		if err != nil {
			t.Fatal(err)
		}
		if config == nil {
			return ""
		}
		return config.Data["policy.json"]
	}
	if err := r.ensureRules(t.Context(), p); err != nil || rules() != "" {
		t.Errorf("no policy: %v", err)
	}
	p.Spec.Policy = &v1alpha1.ProxyPolicy{Deny: []v1alpha1.PolicyRule{{Name: "cve", Modules: []string{"example.com/bad"}, Reason: "r"}}}
	if err := r.ensureRules(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if parsed, err := policy.Parse([]byte(rules())); err != nil || len(parsed.Deny) != 1 || parsed.Mode != policy.Enforce {
		t.Errorf("%+v, %v", parsed, err)
	}
	before := rules()
	p.Spec.Policy.Deny[0].Modules = []string{"["}
	if err := r.ensureRules(t.Context(), p); err == nil || rules() != before {
		t.Errorf("a pattern that cannot be read: %v", err)
	}
	p.Spec.Policy.Advisories = []v1alpha1.AdvisorySource{{ConfigMapRef: v1alpha1.LocalReference{Name: "osv"}}}
	if err := r.ensureRules(t.Context(), p); err == nil || !strings.Contains(err.Error(), "ConfigMap osv does not exist") || rules() != before {
		t.Errorf("advisories that are missing: %v", err)
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded.
func TestEachFailure(t *testing.T) {
	// What is written is held by the golden file. Without it, one client is enough.
	cluster := interceptor.NewClient(reconciler(t, interceptor.Funcs{}, inputs()...).Client.(client.WithWatch), interceptor.Funcs{
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return nil
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return nil },
	})
	calls := failing.Each(t, func() client.WithWatch { return cluster }, func(c client.Client) error {
		r := Reconciler{Client: c, Live: c, FieldOwner: "test", Advisories: &Advisories{}}
		r.Images = images.Images{Operator: "operator:1", Toolchain: "golang:1", Athens: "athens:1"}
		p := everything()
		_, err := r.Reconcile(t.Context(), p, pass.Observed{Stored: p, Now: now})
		return errors.Join(err, r.NameQuarantined(t.Context(), p), r.LimitEvictions(t.Context(), p, now))
	})
	if len(calls) < 20 {
		t.Errorf("calls %v", calls)
	}
}
