package fleet

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
)

const (
	hostileSources = 64
	hostileProxies = 8 // of eight instances each
	foreignPVCs    = 20_000
	largeObjects   = 60 // of each kind
	largeCaches    = 16
)

// TestHostileLoad holds that the manager stays below the memory limit of its pod
// while 64 git servers and 64 instances send it as much as they can, and the
// cluster has 20,000 PVCs of others.
func TestHostileLoad(t *testing.T) {
	f := &fleet{T: t, dir: t.TempDir()}
	f.build()
	for range hostileProxies {
		f.namespaces = append(f.namespaces, server.Namespace(t))
	}
	f.foreign()
	git, instance := newHostile(t, hostileGit), newHostile(t, hostileInstance)
	f.hostile(git.url, instance.url)

	m := f.start("--allow-loopback-addresses")
	// Two rounds of the instances' probes, and of the polls of all sources.
	f.until("the hostile servers to be asked", func() bool {
		return git.asked.Load() >= 2*hostileSources && instance.asked.Load() >= 2*8*hostileProxies
	})
	is := m.figures()
	line(fmt.Sprintf("%d hostile git sources and instances, %d PVCs", hostileSources, foreignPVCs), fmt.Sprintf("%d MiB", is.peak>>20),
		fmt.Sprintf("most resident memory; limit %d MiB; %d MiB at the end; %d requests to git servers, %d to instances", memoryLimit>>20, is.resident>>20, git.asked.Load(), instance.asked.Load()))
	m.stop()
	if is.peak > memoryLimit {
		t.Errorf("it held %d MiB, limit %d", is.peak>>20, memoryLimit>>20)
	}
}

// TestLargeObjects holds that the manager stays below the memory limit of its pod while an editor
// of one namespace, who may create pods, has filled it with objects of a megabyte: those that the
// operator lists, and those that its cache holds, in the name of caches of their own.
func TestLargeObjects(t *testing.T) {
	f := &fleet{T: t, dir: t.TempDir(), namespaces: []string{server.Namespace(t)}}
	f.build()
	tenant := server.Tenant(t, f.namespaces[0],
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}},
		rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"*"}})
	f.large(tenant)
	f.clusters = []*cluster.Cluster{{Client: server.Client, Namespace: f.namespaces[0], Now: time.Now, Job: ending}}
	var is, again figures
	for _, figures := range []*figures{&is, &again} { // the second one starts with all of them
		m := f.start()
		f.until("the caches to be worked on", func() bool { return m.figures().passes > largeObjects*4 })
		passes := m.figures().passes
		f.until("the caches to be worked on again", func() bool { return m.figures().passes > passes+2*largeCaches })
		*figures = m.figures()
		m.stop()
	}
	line(fmt.Sprintf("%d objects of 1 MiB in one namespace", 5*largeObjects), fmt.Sprintf("%d MiB", max(is.peak, again.peak)>>20),
		fmt.Sprintf("most resident memory; limit %d MiB; %d MiB after a restart", memoryLimit>>20, again.peak>>20))
	if peak := max(is.peak, again.peak); peak > memoryLimit {
		t.Errorf("it held %d MiB, limit %d", peak>>20, memoryLimit>>20)
	}
}

// large creates pods that use the PVC of a cache and have the label of its writer's, others of each
// kind with the labels and the owner of those of the operator, and caches.
func (f *fleet) large(tenant client.Client) {
	f.Helper()
	ns, big := f.namespaces[0], strings.Repeat("x", 1<<20)
	f.must(tenant.Create(f.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "modules"}, Data: map[string]string{"go.mod": "module m\n", "go.sum": ""}}))
	var owner *v1alpha1.GoCache
	for i := range largeCaches {
		owner = f.cache(0)
		owner.Namespace, owner.Name = ns, cacheName(i)
		owner.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{ConfigMapRef: &v1alpha1.LocalReference{Name: "modules"}}}}
		owner.Annotations = map[string]string{"example.com/x": big[:250<<10]}
		owner.Spec.PodTemplate = &v1alpha1.PodTemplate{Annotations: map[string]string{"example.com/x": big[:200<<10]}}
		f.must(tenant.Create(f.Context(), owner))
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: owner.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))}}
	}
	pod := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "c", Image: "none.example.com/x", Env: []corev1.EnvVar{{Name: "X", Value: big}}}},
		Volumes:       []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: cacheName(0)}}}},
	}
	always := *pod.DeepCopy()
	always.RestartPolicy = corev1.RestartPolicyAlways
	var group errgroup.Group
	group.SetLimit(4)
	for i := range largeObjects {
		name := fmt.Sprint("large-", i)
		selector := map[string]string{"app": name}
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: selector}, Spec: always}
		writers := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{batchv1.JobNameLabel: naming.Child(cacheName(0), naming.Writer)}}, Spec: pod}
		for _, o := range []client.Object{
			writers,
			&appsv1.Deployment{ObjectMeta: meta(name), Spec: appsv1.DeploymentSpec{Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: selector}, Template: template}},
			&appsv1.StatefulSet{ObjectMeta: meta(name), Spec: appsv1.StatefulSetSpec{Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: selector}, Template: template}},
			&batchv1.Job{ObjectMeta: meta(name), Spec: batchv1.JobSpec{Parallelism: new(int32), Template: corev1.PodTemplateSpec{Spec: pod}}},
			&corev1.ConfigMap{ObjectMeta: meta(name), Data: map[string]string{"x": big[:1000<<10]}},
		} {
			group.Go(func() error { return tenant.Create(f.Context(), o) })
		}
	}
	f.must(group.Wait())
}

// foreign creates PVCs as other programs do, with the annotations they have.
func (f *fleet) foreign() {
	f.Helper()
	var group errgroup.Group
	group.SetLimit(32)
	for i := range foreignPVCs {
		group.Go(func() error {
			return server.Client.Create(f.Context(), &corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: f.namespaces[i%len(f.namespaces)], Name: fmt.Sprint("work-", i),
					Annotations: map[string]string{"example.com/configuration": strings.Repeat("x", 1<<10)},
				},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
				},
			})
		})
	}
	f.must(group.Wait())
}

// hostile creates caches and proxies that make the manager ask the servers.
func (f *fleet) hostile(git, instance string) {
	f.Helper()
	for i := range hostileSources {
		c := f.cache(0)
		c.Namespace, c.Name = f.namespaces[i%len(f.namespaces)], cacheName(i)
		c.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Git: &v1alpha1.GitSource{URL: fmt.Sprintf("%s/%d", git, i)}}}}
		f.must(server.Client.Create(f.Context(), c))
	}
	for p := range hostileProxies {
		proxy := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespaces[p], Name: "hostile"}}
		for i := range 8 {
			proxy.Spec.Instances = append(proxy.Spec.Instances, v1alpha1.ProxyInstance{Name: fmt.Sprint("i", i), External: &v1alpha1.ExternalInstance{URL: instance}})
		}
		proxy.Spec.Probes.Interval = &metav1.Duration{Duration: 5 * time.Second}
		proxy.Spec.Probes.Timeout = &metav1.Duration{Duration: 4 * time.Second}
		proxy.Spec.Probes.ReferenceModules = []v1alpha1.ReferenceModule{{Module: "example.com/c", Version: "v1.0.0", Sum: "h1:" + strings.Repeat("x", 43) + "="}}
		f.must(server.Client.Create(f.Context(), proxy))
	}
}

// hostileServer counts the requests to it.
type hostileServer struct {
	url   string
	asked atomic.Int64
}

// newHostile starts a server on this machine. Its handlers end with the test.
func newHostile(t *testing.T, handle func(<-chan struct{}, http.ResponseWriter, *http.Request)) *hostileServer {
	h, ended := &hostileServer{}, t.Context().Done()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		handle(ended, w, r)
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

var megabyte = bytes.Repeat([]byte("x"), 1<<20)

// hostileGit answers in four ways, by the last digit of the path: an error whose
// text is 64 MiB after decompression, the same without compression, refs without
// end, and a body that stops.
func hostileGit(ended <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/info/refs")
	switch path[len(path)-1] % 4 {
	case 0:
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusForbidden)
		z := gzip.NewWriter(w)
		write(z, 64)
		_ = z.Close()
	case 1:
		w.WriteHeader(http.StatusInternalServerError)
		write(w, 64)
	case 2:
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
		for i := 0; ; i++ {
			ref := fmt.Sprintf("%040d refs/heads/%s%d\n", i, strings.Repeat("x", 900), i)
			if _, err := fmt.Fprintf(w, "%04x%s", len(ref)+4, ref); err != nil {
				return
			}
		}
	default:
		write(w, 3)
		hang(ended, w, r)
	}
}

// hostileInstance has a small go.mod file and the largest archive that a probe
// reads, and does not end it.
func hostileInstance(ended <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, ".info"):
		_, _ = io.WriteString(w, `{"Version":"v1.0.0"}`)
	case strings.HasSuffix(r.URL.Path, ".mod"):
		_, _ = io.WriteString(w, "module example.com/c\n")
	default:
		write(w, 31)
		hang(ended, w, r)
	}
}

func write(w io.Writer, megabytes int) {
	for range megabytes {
		if _, err := w.Write(megabyte); err != nil {
			return
		}
	}
}

// hang keeps a response open until its client, or the test, ends.
func hang(ended <-chan struct{}, w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-ended:
	}
}
