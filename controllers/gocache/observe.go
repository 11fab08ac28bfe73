package gocache

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=get;list;watch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies,verbs=get;list;watch

// observe makes all reads of a pass, beside those that a part makes past the
// cache right before it acts.
func (r *Reconciler) observe(ctx context.Context, o pass.Observed) (pass.Observed, error) {
	cache, ns, name := o.Stored, o.Stored.Namespace, o.Stored.Name
	var err error
	if o.PVC, err = read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, ns, name); err != nil {
		return o, err
	}
	o.PVC = apply.Ours(cache, pass.Labels(cache), o.PVC)
	if o.Previous, err = read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, ns, naming.Child(name, naming.Previous)); err != nil {
		return o, err
	}
	o.Previous = apply.Ours(cache, pass.Labels(cache), o.Previous)
	if o.Writer, err = read.Object[batchv1.Job](ctx, r.Client, ns, naming.Child(name, naming.Writer)); err != nil {
		return o, err
	}
	o.ForeignWriter, o.PredecessorWriter = otherWriter(cache, o.Writer)
	o.Writer = apply.Ours(cache, pass.Labels(cache), o.Writer)
	if o.Run, err = jobrun.Observe(ctx, r.Live, o.Writer); err != nil {
		return o, err
	}
	if o.Hindrance, err = jobrun.Hindrance(ctx, r.Live, o.Writer, o.Run, o.Now); err != nil {
		return o, err
	}
	if o.Snapshots, err = csisnapshot.Of(ctx, r.Client, r.Indexed, cache.Namespace, v1alpha1.GoCacheKind, cache.Name); err != nil {
		return o, err
	}
	if err := csisnapshot.Served(r.Client.RESTMapper()); conditions.Stalled(err) != nil {
		o.SnapshotAPIMissing = err.Error()
	} else if err != nil {
		return o, err
	}
	if err := r.observeProxy(ctx, &o); err != nil {
		return o, err
	}
	return o, r.observeSources(ctx, &o)
}

// otherWriter reports whose a Job of the writer's name is that is not this cache's.
func otherWriter(cache *v1alpha1.GoCache, job *batchv1.Job) (foreign, predecessor bool) {
	if job == nil || metav1.IsControlledBy(job, cache) {
		return false, false
	}
	owner := metav1.GetControllerOf(job)
	predecessor = owner != nil && owner.Kind == v1alpha1.GoCacheKind && owner.Name == cache.Name
	return !predecessor, predecessor
}

func (r *Reconciler) observeProxy(ctx context.Context, o *pass.Observed) error {
	env := o.Stored.Spec.Environment
	o.Proxy = env.Proxy
	if env.ProxyRef == nil {
		return nil
	}
	proxy, err := read.Object[v1alpha1.ModProxy](ctx, r.Client, o.Stored.Namespace, env.ProxyRef.Name)
	if proxy != nil && proxy.Spec.PrivateModules != nil {
		o.ProxyPrivate = proxy.Spec.PrivateModules.Patterns
	}
	o.ProxyEnforces = proxy != nil && proxy.Spec.Policy != nil && proxy.Spec.Policy.Mode != v1alpha1.PolicyDryRun
	switch {
	case err != nil:
		return err
	case proxy == nil:
		o.ProxyMissing = fmt.Sprintf("ModProxy %s does not exist", env.ProxyRef.Name)
	case proxy.Status.GOPROXY == "":
		o.ProxyMissing = fmt.Sprintf("ModProxy %s has no address yet", env.ProxyRef.Name)
	default:
		o.Proxy = proxy.Status.GOPROXY
		o.ProxyURL, _, _ = strings.Cut(o.Proxy, "|") // the others are paths of it
		if ready := meta.FindStatusCondition(proxy.Status.Conditions, v1alpha1.ReadyCondition); ready == nil || ready.Status != metav1.ConditionTrue {
			o.ProxyUnready = fmt.Sprintf("ModProxy %s is not ready", proxy.Name)
		}
		if auth := proxy.Spec.Router.ClientAuth; auth != nil {
			return r.observeProxySecret(ctx, o, auth.SecretRef.Name)
		}
	}
	return nil
}

// observeProxySecret reads whether the Secret for the clients of a proxy may be
// sent to its router, and mounted into the image of the warm-up if the user chose that:
// what runs there may send it anywhere.
func (r *Reconciler) observeProxySecret(ctx context.Context, o *pass.Observed, name string) error {
	secret, err := read.Object[corev1.Secret](ctx, r.Live, o.Stored.Namespace, name)
	if err != nil {
		return err
	}
	proxy := o.Stored.Spec.Environment.ProxyRef.Name
	if secret == nil {
		o.ProxyUnready = fmt.Sprintf("Secret %s of ModProxy %s does not exist", name, proxy)
		return nil
	}
	u, err := url.Parse(o.ProxyURL)
	if err == nil {
		err = consent.ToHost(secret, u.Host)
	}
	if image := o.Stored.Spec.Toolchain.Image; err == nil && image != "" {
		err = consent.ToImage(secret, image, "spec.toolchain.image is set")
	}
	if err != nil {
		o.ProxyUnready = fmt.Sprintf("ModProxy %s requires credentials: %s", proxy, err)
		o.SecretRefused = o.ProxyUnready
		return nil
	}
	o.ProxySecret = name
	return nil
}

// observeSources reads what the cache is warmed from. ConfigMaps are the user's
// and bear no label of ours, so they are read, not watched.
func (r *Reconciler) observeSources(ctx context.Context, o *pass.Observed) error {
	if o.Stored.Spec.WarmUp == nil {
		return nil
	}
	labels := naming.SourceLabels(o.Stored.Spec.WarmUp.Sources)
	var missing string
	readable := 0
	for i, src := range o.Stored.Spec.WarmUp.Sources {
		observe := r.observeConfigMap
		if src.Git != nil {
			observe = r.observeGit
		}
		found, why, err := observe(ctx, o, src)
		if err != nil {
			return err
		}
		found.Label, found.Spec = labels[i], src
		o.Sources = append(o.Sources, found)
		if why == "" {
			readable++
		} else {
			missing = why
		}
	}
	if o.SourceMissing == "" && readable == 0 {
		o.SourceMissing = missing
	}
	return nil
}

// observeConfigMap reads a ConfigMap. Why it cannot be used is not an error.
func (r *Reconciler) observeConfigMap(ctx context.Context, o *pass.Observed, src v1alpha1.WarmUpSource) (found pass.Source, why string, err error) {
	name := src.ConfigMapRef.Name
	cm, err := read.Object[corev1.ConfigMap](ctx, r.Live, o.Stored.Namespace, name)
	switch {
	case err != nil:
		return pass.Source{}, "", err
	case cm == nil:
		why = fmt.Sprintf("ConfigMap %s does not exist", name)
	case cm.Data[pass.GoModKey] == "":
		why = fmt.Sprintf("ConfigMap %s has no key %s", name, pass.GoModKey)
	}
	if why != "" {
		return pass.Source{Missing: why}, why, nil
	}
	found = pass.Source{Name: cm.Name, Data: map[string]string{}}
	for _, key := range []string{pass.GoModKey, pass.GoSumKey, pass.PackagesKey} {
		if value, ok := cm.Data[key]; ok && (key != pass.PackagesKey || len(src.Packages) == 0) {
			found.Keys = append(found.Keys, key)
			found.Data[key] = value
		}
	}
	return found, "", nil
}

// indexProxy is the index of caches by the proxy they use.
func indexProxy(o client.Object) []string {
	if ref := o.(*v1alpha1.GoCache).Spec.Environment.ProxyRef; ref != nil {
		return []string{ref.Name}
	}
	return nil
}

// byProxy wakes the caches that use a proxy.
func (r *Reconciler) byProxy(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.GoCacheList
	if err := r.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingFields{proxyIndex: o.GetName()}); err != nil {
		return nil // they look again by themselves
	}
	var requests []reconcile.Request
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// bySnapshot wakes the cache that a snapshot is of.
func bySnapshot(_ context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.CacheSnapshot).Spec.SourceRef
	if ref.Kind != v1alpha1.GoCacheKind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}}}
}

// byClaim wakes the cache whose PVC this is: the cache PVC, one of a replacement, or
// one of the pool.
func byClaim(_ context.Context, o client.Object) []reconcile.Request {
	cache := o.GetLabels()[v1alpha1.CacheLabel]
	if pool := o.GetLabels()[v1alpha1.PoolLabel]; pool != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: pool}}}
	}
	switch o.GetName() {
	case cache, naming.Child(cache, naming.Next), naming.Child(cache, naming.Previous):
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: cache}}}
	default:
		return nil
	}
}
