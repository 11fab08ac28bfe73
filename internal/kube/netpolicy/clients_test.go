package netpolicy_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/netpolicy"
	"gocache.dev/operator/internal/testing/reach"
)

// TestClients holds which pods and addresses may connect to which ports: the clients of the spec, the Jobs of
// GoCaches beside the proxy, and no others.
func TestClients(t *testing.T) {
	labels := func(of ...string) *v1alpha1.LabelSelector {
		return &v1alpha1.LabelSelector{MatchLabels: map[string]string{of[0]: of[1]}}
	}
	peers := map[string]reach.Pod{
		"a job of a cache":        {Namespace: "go", Labels: map[string]string{v1alpha1.CacheLabel: "ci"}},
		"a neighbour":             {Namespace: "go", Labels: map[string]string{"app": "ci"}},
		"a tenant":                {Namespace: "tenant", NamespaceLabels: map[string]string{"team": "a"}},
		"a runner of the tenant":  {Namespace: "tenant", NamespaceLabels: map[string]string{"team": "a"}, Labels: map[string]string{"app": "ci"}},
		"a job of another tenant": {Namespace: "other", Labels: map[string]string{v1alpha1.CacheLabel: "ci"}},
		"an address":              {Address: "192.0.2.1"},
		"an excepted address":     {Address: "192.0.2.200"},
	}
	for name, tt := range map[string]struct {
		from []v1alpha1.ClientPeer
		want []string // beside the first
	}{
		"all":            {nil, []string{"a job of a cache", "a neighbour", "a tenant", "a runner of the tenant", "a job of another tenant", "an address", "an excepted address"}},
		"none":           {[]v1alpha1.ClientPeer{}, []string{"a job of a cache"}},
		"pods beside it": {[]v1alpha1.ClientPeer{{PodSelector: labels("app", "ci")}}, []string{"a job of a cache", "a neighbour"}},
		"a namespace":    {[]v1alpha1.ClientPeer{{NamespaceSelector: labels("team", "a")}}, []string{"a job of a cache", "a tenant", "a runner of the tenant"}},
		"pods of a namespace": {
			[]v1alpha1.ClientPeer{{NamespaceSelector: labels("team", "a"), PodSelector: labels("app", "ci")}}, []string{"a job of a cache", "a runner of the tenant"},
		},
		"addresses": {[]v1alpha1.ClientPeer{{IPBlock: &v1alpha1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.128/25"}}}}, []string{"a job of a cache", "an address"}},
	} {
		p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "go"}}
		p.Spec.Router.From = tt.from
		policy := netpolicy.Policy(metav1.ObjectMeta{Namespace: "go", Name: "r"}, metav1.LabelSelector{MatchLabels: map[string]string{"role": "router"}}, netpolicy.AdmitClients(p, []int32{8080, 8443}))
		policies := []networkingv1.NetworkPolicy{*policy}
		want := map[string]bool{}
		for _, peer := range tt.want {
			want[peer] = true
		}
		router := reach.Pod{Namespace: "go", Labels: map[string]string{"role": "router"}}
		for peer, from := range peers {
			for _, port := range []int32{8080, 8443} {
				if got := reach.Allowed(t, policies, from, router, port); got != want[peer] {
					t.Errorf("%s: %s may connect to port %d: %t", name, peer, port, got)
				}
			}
			if reach.Allowed(t, policies, from, router, 9104) {
				t.Errorf("%s: %s may connect to the port for metrics", name, peer)
			}
			if !reach.Allowed(t, policies, from, reach.Pod{Namespace: "go", Labels: map[string]string{"role": "other"}}, 9104) {
				t.Errorf("%s: %s may not connect to other pods of the namespace", name, peer)
			}
		}
	}
}

// TestPeers holds which pods are the manager, scrapers, and pods of the own namespace.
func TestPeers(t *testing.T) {
	router := reach.Pod{Namespace: "go"}
	manager := reach.Pod{Namespace: "gocache-system", NamespaceLabels: map[string]string{corev1.LabelMetadataName: "gocache-system"}}
	scraper := reach.Pod{Namespace: "monitoring", NamespaceLabels: map[string]string{"metrics": "enabled"}}
	peer := reach.Pod{Namespace: "go", Labels: map[string]string{"a": "b"}}
	for name, tt := range map[string]struct {
		peer networkingv1.NetworkPolicyPeer
		want reach.Pod
	}{"manager": {netpolicy.Manager("gocache-system"), manager}, "scrapers": {netpolicy.Scrapers(), scraper}, "pods": {netpolicy.Pods(map[string]string{"a": "b"}), peer}} {
		policies := []networkingv1.NetworkPolicy{*netpolicy.Policy(metav1.ObjectMeta{Namespace: "go"}, metav1.LabelSelector{}, netpolicy.Admit([]int32{1}, tt.peer))}
		for other, from := range map[string]reach.Pod{"manager": manager, "scrapers": scraper, "pods": peer, "a stranger": {Namespace: "x", Labels: map[string]string{"a": "b"}}} {
			if got := reach.Allowed(t, policies, from, router, 1); got != (other == name) {
				t.Errorf("%s: %s may connect: %t", name, other, got)
			}
		}
	}
}

func TestManaged(t *testing.T) {
	for _, tt := range []struct {
		mode      v1alpha1.NetworkPolicyMode
		namespace string
		want      bool
	}{
		{v1alpha1.NetworkPolicyManaged, "gocache-system", true}, {"", "gocache-system", true},
		{v1alpha1.NetworkPolicyNone, "gocache-system", false}, {v1alpha1.NetworkPolicyManaged, "", false},
	} {
		p := &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{NetworkPolicy: tt.mode}}
		if got := netpolicy.Managed(p, tt.namespace); got != tt.want {
			t.Errorf("%q with a manager in %q: %t", tt.mode, tt.namespace, got)
		}
	}
}

// TestRemove holds that only what belongs to the owner is removed.
func TestRemove(t *testing.T) {
	owner := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "go", Name: "p", UID: "1"}}
	own := func(name, uid string) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "go", Name: name, UID: "u", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "cache.gocache.dev/v1alpha1", Kind: "ModProxy", Name: "p", UID: "1", Controller: ptr.To(uid == "1")},
		}}}
	}
	c := fake.NewClientBuilder().WithObjects(own("ours", "1"), own("users", "2")).Build()
	for _, name := range []string{"ours", "users", "none"} {
		if err := netpolicy.Remove(t.Context(), c, owner, "go", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, stays := range map[string]bool{"ours": false, "users": true} {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "go", Name: name}, &networkingv1.NetworkPolicy{})
		if stays && err != nil || !stays && !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	overloaded := errors.New("overloaded")
	broken := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return overloaded
		},
	}).Build()
	if err := netpolicy.Remove(t.Context(), broken, owner, "go", "ours"); !errors.Is(err, overloaded) {
		t.Errorf("unreadable: %v", err)
	}
}
