package modproxy

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/mounts"
)

// TestEveryContainerHasLimits holds, for each type of server and for the router,
// that a namespace whose ResourceQuota counts requests and limits accepts the pods
// when the user sets no resources, and that no pod takes a node's disk without a
// limit.
func TestEveryContainerHasLimits(t *testing.T) {
	t.Parallel()
	for _, program := range []v1alpha1.ProxyServer{
		{Type: v1alpha1.ServerGoproxy}, {Type: v1alpha1.ServerAthens, Image: "athens:test"}, {Type: v1alpha1.ServerCustom, Image: "custom:test", Port: ptr.To[int32](8080)},
	} {
		t.Run(string(program.Type), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(cluster.Counting(t.Context(), server.Client, w.namespace))
			w.serving()
			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Server = &program })
			w.settle()
			var instance appsv1.StatefulSet
			var router appsv1.Deployment
			if !w.exists(&instance, "goproxy-blue") || !w.exists(&router, "goproxy-router") {
				t.Fatal("there is no instance, or no router")
			}
			for name, pod := range map[string]corev1.PodSpec{"instance": instance.Spec.Template.Spec, "router": router.Spec.Template.Spec} {
				// The image of a server may be any, and its agent vouches for the store.
				if got, want := mounts.Shared(pod), map[string][]string{"instance": {"store: agent proxy"}}[name]; !slices.Equal(got, want) {
					t.Errorf("%s: the containers share %q, want %q", name, got, want)
				}
				for _, c := range append(pod.InitContainers, pod.Containers...) {
					for _, kind := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
						_, requests := c.Resources.Requests[kind]
						if _, limits := c.Resources.Limits[kind]; !limits || !requests {
							t.Errorf("%s: container %s has a request of %s: %v, a limit: %v", name, c.Name, kind, requests, limits)
						}
					}
				}
				for _, v := range pod.Volumes {
					if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
						t.Errorf("%s: volume %s has no sizeLimit", name, v.Name)
					}
				}
				created := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "by-hand-" + name}, Spec: pod}
				if err := server.Client.Create(t.Context(), created); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
