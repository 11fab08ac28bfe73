package backend

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestDatabaseOfAthens holds that the router asks the upstream for the checksum
// database where an instance runs Athens, which has no such setting, and no server
// where the instances do that, or the spec decides it.
func TestDatabaseOfAthens(t *testing.T) {
	t.Parallel()
	athens := &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens, Image: "athens:1"}
	for name, c := range map[string]struct {
		change func(*v1alpha1.ModProxySpec)
		want   []string
	}{
		"of the proxy": {func(s *v1alpha1.ModProxySpec) { s.Server = athens },
			[]string{"--answers-database=https://mirror.example.com/go,http://second.example.com", "--answers-private=git.example.com/*,example.com/own"}},
		"of an instance": {func(s *v1alpha1.ModProxySpec) { s.Instances[1].Server = athens },
			[]string{"--answers-database=https://mirror.example.com/go,http://second.example.com", "--answers-private=git.example.com/*,example.com/own"}},
		"none": {func(*v1alpha1.ModProxySpec) {}, nil},
		"an instance less": {func(s *v1alpha1.ModProxySpec) {
			s.Server, s.Instances[0].Server, s.Instances[1].Server = athens, &v1alpha1.ProxyServer{}, &v1alpha1.ProxyServer{}
		}, nil},
		"the spec has a URL": {func(s *v1alpha1.ModProxySpec) {
			s.Server, s.ChecksumDatabase = athens, "sum.example.com https://sum.example.com"
		}, nil},
		"no database": {func(s *v1alpha1.ModProxySpec) { s.Server, s.ChecksumDatabase = athens, "off" }, nil},
		"no server": {func(s *v1alpha1.ModProxySpec) {
			s.Server, s.Upstream.Proxy = athens, "direct,file:///modules|off, http://%zz"
		}, nil},
		"nothing is private": {func(s *v1alpha1.ModProxySpec) { s.Server, s.PrivateModules = athens, nil },
			[]string{"--answers-database=https://mirror.example.com/go,http://second.example.com", "--answers-private="}},
		"no upstream": {func(s *v1alpha1.ModProxySpec) { s.Server, s.Upstream = athens, nil }, nil},
	} {
		p := &v1alpha1.ModProxy{}
		p.Name, p.Namespace = "goproxy", "ci"
		p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue"}, {Name: "green"}}
		p.Spec.Upstream = &v1alpha1.ProxyUpstream{Proxy: "https://mirror.example.com/go, http://second.example.com|direct"}
		p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.example.com/*", "example.com/own"}}}
		c.change(&p.Spec)
		objects, err := haproxy.Objects(Maker{}.params(p, []route.Instance{{Name: "blue", Address: "10.0.0.1:3000"}}))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(objects, func(o client.Object) bool { _, ok := o.(*appsv1.Deployment); return ok })
		var got []string
		for _, arg := range objects[i].(*appsv1.Deployment).Spec.Template.Spec.InitContainers[0].Args {
			if strings.HasPrefix(arg, "--answers-database") || strings.HasPrefix(arg, "--answers-private") {
				got = append(got, arg)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: arguments of the sidecar (-want +got):\n%s", name, diff)
		}
	}
}
