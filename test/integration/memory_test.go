package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

// largeObjects is how many objects of a megabyte a tenant creates.
const largeObjects = 16

// TestLargePods holds what the lists of pods cost that a tenant fills with pods of a megabyte:
// a page, and of each pod what is read of it.
func TestLargePods(t *testing.T) {
	ns := server.Namespace(t)
	tenant := server.Tenant(t, ns, runner...)
	for i := range largeObjects {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("p-", i), Labels: map[string]string{batchv1.JobNameLabel: "ci-writer"}},
			Spec:       large(),
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}}}
		if err := tenant.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	var most atomic.Int64
	config := rest.CopyConfig(server.Config)
	config.Wrap(read.Bound)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, &most} })
	live, err := client.New(config, client.Options{Scheme: server.Scheme, Mapper: server.Client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for pod, err := range jobrun.Pods(t.Context(), live, ns, "ci-writer") {
		if err != nil {
			t.Fatal(err)
		}
		seen[pod.Name] = true
	}
	if len(seen) != largeObjects {
		t.Errorf("%d of %d pods are listed", len(seen), largeObjects)
	}
	consumers, err := volume.Consumers(t.Context(), live, ns, "ci")
	if err != nil || len(consumers) != largeObjects {
		t.Errorf("%d of %d consumers are listed, %v", len(consumers), largeObjects, err)
	}
	kept := 0
	for i := range consumers {
		kept += consumers[i].Size()
	}
	t.Logf("%d pods of 1 MiB: at most %d KiB in one response, %d KiB for the list of consumers", largeObjects, most.Load()>>10, kept>>10)
	if most.Load() > read.MaxPageBytes {
		t.Errorf("a response of %d bytes is decoded, limit %d", most.Load(), read.MaxPageBytes)
	}
	if kept > 16<<10 {
		t.Errorf("%d bytes are kept of the consumers", kept)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range jobrun.Pods(ended, live, ns, "ci-writer") {
		if err == nil {
			t.Error("a list that was cancelled goes on")
		}
	}
}

// TestLargeObjectsInTheCache holds what the cache keeps of objects of a megabyte with the label and
// the owner that those of the operator have, and that a read by name gives all of one.
func TestLargeObjectsInTheCache(t *testing.T) {
	ns := server.Namespace(t)
	tenant := server.Tenant(t, ns)
	owner := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}}
	owner.Spec.Toolchain.Version, owner.Spec.Storage.Size = "1.26.8", resource.MustParse("1Gi")
	if err := tenant.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	marks := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	for i := range largeObjects {
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("ci-", i), Labels: marks, OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GoCacheKind, Name: owner.Name, UID: owner.UID, Controller: ptr.To(true),
			}}},
			Spec: appsv1.DeploymentSpec{
				Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: marks},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: marks}, Spec: large()},
			},
		}
		if err := tenant.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := cache.New(server.Config, cache.Options{
		Scheme: server.Scheme, Mapper: server.Client.RESTMapper(), DefaultTransform: cached.Trim, DefaultNamespaces: map[string]cache.Config{ns: {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = objects.Start(t.Context()) }() // ends with the test
	if !objects.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not start")
	}
	var all appsv1.DeploymentList
	if err := objects.List(t.Context(), &all); err != nil || len(all.Items) != largeObjects {
		t.Fatalf("%d Deployments are cached, %v", len(all.Items), err)
	}
	held := 0
	for i := range all.Items {
		held += all.Items[i].Size()
	}
	t.Logf("%d Deployments of 1 MiB: %d KiB in the cache", largeObjects, held>>10)
	if held > 32<<10 {
		t.Errorf("the cache holds %d bytes", held)
	}
	c, err := cached.New(server.Config, client.Options{Scheme: server.Scheme, Mapper: server.Client.RESTMapper(), Cache: &client.CacheOptions{Reader: objects}})
	if err != nil {
		t.Fatal(err)
	}
	got := &appsv1.Deployment{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "ci-3"}, got); err != nil || got.Size() < 1<<20 {
		t.Errorf("a read by name gives %d bytes, %v", got.Size(), err)
	}
}

// large is a pod of a megabyte.
func large() corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none.example.com/x", Env: []corev1.EnvVar{{Name: "X", Value: strings.Repeat("x", 1<<20)}}}}}
}

// counting records the longest body that is read through it.
type counting struct {
	next http.RoundTripper
	most *atomic.Int64
}

// RoundTrip counts the body.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if err == nil {
		response.Body = &countedBody{ReadCloser: response.Body, most: c.most}
	}
	return response, err
}

type countedBody struct {
	io.ReadCloser
	n    int64
	most *atomic.Int64
}

// Read counts.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if b.n > b.most.Load() {
		b.most.Store(b.n)
	}
	return n, err
}
