package scenario

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
)

// TestStays: on a cluster that others use, the operator goes only if it came
// with the scenario and nothing of others would go with it.
func TestStays(t *testing.T) {
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	system := func(labels map[string]string) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace, Labels: labels}}
	}
	ours := system(map[string]string{installedLabel: "scenario"})
	theirs := metav1.ObjectMeta{Namespace: "team", Name: "x"}
	for name, tt := range map[string]struct {
		objects []client.Object
		why     string // empty: it may go
	}{
		"installed by the story, nothing left": {[]client.Object{ours}, ""},
		"there before":                         {[]client.Object{system(nil)}, "not installed from here"},
		"not there":                            {nil, "not installed from here"},
		"somebody's cache":                     {[]client.Object{ours, &v1alpha1.GoCache{ObjectMeta: theirs}}, "GoCache team/x"},
		"somebody's snapshot":                  {[]client.Object{ours, &v1alpha1.CacheSnapshot{ObjectMeta: theirs}}, "CacheSnapshot team/x"},
		"somebody's proxy":                     {[]client.Object{ours, &v1alpha1.ModProxy{ObjectMeta: theirs}}, "ModProxy team/x"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Cluster{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(tt.objects...).Build()}
			why, err := c.stays(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tt.why == "" && why != "" || !strings.Contains(why, tt.why) {
				t.Errorf("it stays because %q, want %q", why, tt.why)
			}
		})
	}
}

// TestAnotherClusterNeedsAnImage: this machine's own image is in no registry.
func TestAnotherClusterNeedsAnImage(t *testing.T) {
	c := &Cluster{Options: Options{Kind: Current}}
	t.Setenv("IMG", "")
	if err := c.pullableImage(t.Context()); err == nil || !strings.Contains(err.Error(), "IMG") {
		t.Errorf("without IMG: %v", err)
	}
	t.Setenv("IMG", "registry.example.com/operator:1")
	if err := c.pullableImage(t.Context()); err != nil || image() != "registry.example.com/operator:1" {
		t.Errorf("with IMG: image %s, error %v", image(), err)
	}
}
