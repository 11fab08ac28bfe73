package gocache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/buildreport"
	plan "gocache.dev/operator/internal/plan/sharing"
	"gocache.dev/operator/internal/plan/snapshot"
)

// sourceIndex finds the GoCaches that are shared from a GoCache.
const sourceIndex = "spec.source"

// shared is what a pass found of the source of a GoCache that is shared from
// another one: it has no PVC, no writer and no snapshots of its own.
type shared struct {
	consent plan.Decision
	source  *v1alpha1.GoCache // nil unless the consent is granted
	// waiting is why the source offers nothing; nil: it does.
	waiting *pass.Fact
}

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get

// reconcileShared reads what the source of the GoCache offers and publishes the
// environment of builds. Whether a PVC may be populated the populator decides, from
// what it reads itself.
func (r *Reconciler) reconcileShared(ctx context.Context, p *progress) error {
	p.result.WakeIn(pass.Interval) // the labels of namespaces are not watched
	p.shared = &shared{}
	err := csisnapshot.Served(r.Client.RESTMapper())
	if err != nil {
		return err
	}
	if p.shared.consent, p.shared.source, err = sharing.Consent(ctx, r.Live, p.cache); err != nil {
		return err
	}
	err = r.observeOffer(ctx, p)
	p.observed = err == nil
	if err != nil || p.cache.Spec.Suspend {
		return err
	}
	err = r.takeRequest(ctx, p)
	if p.shared.source == nil {
		return err // what was published stays: PVCs that were populated are still used
	}
	if proxyErr := r.observeProxy(ctx, &p.Observed); proxyErr != nil {
		return errors.Join(err, proxyErr)
	}
	return errors.Join(err, r.provision().PublishEnvironment(ctx, p.withPathsOfSource(), p.Observed))
}

// observeOffer records in the status which snapshot the source offers. It is left
// out of the status when the source does not, or not any more, allow it.
func (r *Reconciler) observeOffer(ctx context.Context, p *progress) error {
	p.cache.Status.Source = nil
	source := p.shared.source
	if source == nil {
		return nil
	}
	offer := &v1alpha1.CacheSourceStatus{Namespace: source.Namespace, Name: source.Name, Builds: buildreport.Names(source)}
	p.cache.Status.Source = offer
	name := source.Status.LatestVerifiedSnapshot
	c, err := read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, source.Namespace, name)
	var csi snapshot.CSI
	if err == nil {
		csi, err = volume.StateOf(ctx, r.Live, c)
	}
	if err != nil {
		if is := p.Stored.Status.Source; is != nil && is.Namespace == source.Namespace && is.Name == source.Name {
			p.cache.Status.Source = is.DeepCopy() // what it offers is not known, and need not have changed
		}
		return err
	}
	use := snapshot.Use{Of: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: source.Name}, BySource: true, CSI: csi}
	if candidate := snapshot.Candidate(c, use); !candidate.Usable() {
		p.shared.waiting = waitsForSource(source, name, candidate.Standing)
		return nil
	}
	v := c.Status.Verification
	offer.Snapshot, offer.CreationTime, offer.RestoreSize = c.Name, c.Status.CreationTime, c.Status.RestoreSize
	offer.Verdict, offer.VerificationTime, offer.Digest = v.Verdict, v.CompletionTime, v.Digest
	offer.TotalModules, offer.ProvenModules = v.TotalModules, v.ProvenModules
	if c.Status.Source != nil {
		offer.Toolchain = c.Status.Source.Toolchain
	}
	return nil
}

// waitsForSource is why a source offers nothing now.
func waitsForSource(source *v1alpha1.GoCache, name string, standing snapshot.Standing) *pass.Fact {
	if name != "" {
		return pass.False(v1alpha1.ReasonSnapshotPending, "CacheSnapshot %s/%s is offered by GoCache %s and cannot be used now (%s)", source.Namespace, name, source.Name, standing)
	}
	reason, why := v1alpha1.ReasonSnapshotPending, "it has no verified snapshot yet"
	if available := meta.FindStatusCondition(source.Status.Conditions, v1alpha1.SnapshotAvailableCondition); available != nil && available.Status != metav1.ConditionTrue {
		reason, why = available.Reason, available.Message
	}
	return pass.False(reason, "GoCache %s/%s has no verified snapshot to offer: %s", source.Namespace, source.Name, why)
}

// withPathsOfSource is the GoCache with the layers and the mount path of its source:
// a build cache is only used where it was written.
func (p *progress) withPathsOfSource() *v1alpha1.GoCache {
	cache := p.cache.DeepCopy()
	cache.Spec.Layers = p.shared.source.Spec.Layers
	cache.Spec.Environment.MountPath = p.shared.source.Spec.Environment.MountPath
	if offer := p.cache.Status.Source; offer != nil && offer.Toolchain != nil && offer.Toolchain.MountPath != "" {
		cache.Spec.Environment.MountPath = offer.Toolchain.MountPath // the source may have been changed since
	}
	return cache
}

// setShared sets Ready of a GoCache that is shared from another one.
func (p *progress) setShared(set conditions.Set) {
	available := p.sharedAvailable()
	usable := available.Status == metav1.ConditionTrue
	switch {
	case p.cache.Spec.Suspend:
		set.Suspend(usable, "spec.suspend is set: nothing is started. %s", available.Message)
	case p.shared.source == nil:
		set.Stall(available.Reason, "%s", available.Message)
	case usable && p.ProxyMissing != "":
		set.Progress(v1alpha1.ReasonProxyNotReady, "The environment of builds is not published yet: %s", p.ProxyMissing)
	case usable:
		set.Ready(v1alpha1.ReasonCacheReady, "%s", available.Message)
	default:
		set.Progress(available.Reason, "%s", available.Message)
	}
}

// sharedAvailable is the fact for the condition SnapshotAvailable.
func (p *progress) sharedAvailable() *pass.Fact {
	offer := p.cache.Status.Source
	switch {
	case p.shared.source == nil:
		return pass.False(refusals[p.shared.consent.Standing], "%s", p.shared.consent.Message)
	case p.shared.waiting != nil:
		return p.shared.waiting
	default:
		return pass.True(v1alpha1.ReasonSnapshotAvailable, "New PVCs are populated from CacheSnapshot %s/%s%s", offer.Namespace, offer.Snapshot, freshness(offer))
	}
}

// freshness is when a snapshot that is offered was created.
func freshness(offer *v1alpha1.CacheSourceStatus) string {
	if offer.CreationTime == nil {
		return ""
	}
	return fmt.Sprintf(", which is %s and was created at %s", offer.Verdict, offer.CreationTime.UTC().Format(time.RFC3339))
}

// refusals are the reasons by the answer to a GoCache that names a source.
var refusals = map[plan.Standing]string{
	plan.NotShared:   v1alpha1.ReasonNotShared,
	plan.Chained:     v1alpha1.ReasonSourceIsShared,
	plan.Unavailable: v1alpha1.ReasonSharingUnavailable,
}

// sharedEvents report which snapshot the source offers now.
func sharedEvents(before, after *v1alpha1.GoCache) []event.Event {
	was, is := before.Status.Source, after.Status.Source
	if is == nil || is.Snapshot == "" || was != nil && was.Snapshot == is.Snapshot && was.Namespace == is.Namespace {
		return nil
	}
	return []event.Event{event.Normal("SnapshotOffered", "Publish", "Offered CacheSnapshot %s/%s: consumers get clones of it from now on", is.Namespace, is.Snapshot)}
}

// indexSource is the index of GoCaches by the source that they are shared from.
func indexSource(o client.Object) []string {
	if s := o.(*v1alpha1.GoCache).Spec.Source; s != nil {
		return []string{s.Namespace + "/" + s.Name}
	}
	return nil
}

// bySource wakes the GoCaches, of all namespaces, that are shared from a GoCache.
func (r *Reconciler) bySource(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.GoCacheList
	if err := r.Client.List(ctx, &list, client.MatchingFields{sourceIndex: o.GetNamespace() + "/" + o.GetName()}); err != nil {
		return nil // they look again by themselves
	}
	var requests []reconcile.Request
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}
