package backend

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/images"
)

// TestIdentityOfTheRouter holds that a router has a numeric user whatever its
// instances are, since the user of HAProxy's public image has only a name, and a
// group that may read the certificate; and none where the platform assigns ids.
func TestIdentityOfTheRouter(t *testing.T) {
	external := v1alpha1.ProxyInstance{Name: "up", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}}
	owned := func(o *v1alpha1.Ownership) v1alpha1.ProxyInstance {
		return v1alpha1.ProxyInstance{Name: "own", Storage: &v1alpha1.InstanceStorage{Ownership: o}}
	}
	id := ptr.To[int64]
	byDefault := v1alpha1.Ownership{RunAsUser: id(65532), RunAsGroup: id(65532), FSGroup: id(65532)}
	for name, tt := range map[string]struct {
		instances []v1alpha1.ProxyInstance
		want      v1alpha1.Ownership
	}{
		"only external instances":          {[]v1alpha1.ProxyInstance{external, external}, byDefault},
		"the instances' own":               {[]v1alpha1.ProxyInstance{external, owned(&v1alpha1.Ownership{RunAsUser: id(1), RunAsGroup: id(2), FSGroup: id(3)})}, v1alpha1.Ownership{RunAsUser: id(1), RunAsGroup: id(2), FSGroup: id(3)}},
		"the platform assigns ids":         {[]v1alpha1.ProxyInstance{owned(nil), external}, v1alpha1.Ownership{}},
		"a group of files, and no primary": {[]v1alpha1.ProxyInstance{owned(&v1alpha1.Ownership{RunAsUser: id(1), FSGroup: id(3)})}, v1alpha1.Ownership{RunAsUser: id(1), FSGroup: id(3)}},
	} {
		p := &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{Instances: tt.instances}}
		got := Maker{Images: images.Images{}}.params(p, nil)
		if diff := cmp.Diff(tt.want, v1alpha1.Ownership{RunAsUser: got.RunAsUser, RunAsGroup: got.RunAsGroup, FSGroup: got.FSGroup}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
