package crash

import (
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/router/weights"
)

// invariants hold after every single revision, in every flow:
//
//   - the newest verified snapshot of a cache stays, as long as the cache does;
//   - no volume that a cache lived on is deleted, or left to be deleted with
//     its PVC, before a replacement was verified and stands under its name;
//   - no volume that once had a PVC is without one: such a volume becomes
//     Available, and any pending PVC of its class may take it;
//   - an instance that is quarantined in a router's configuration has no other
//     state there while its quarantine lasts;
//   - one writes: never two pods of ours exist that mount a cache PVC and
//     may write to it;
//   - no volume outside the namespace's own is ever written to; see
//     Journal.strangers.
//
// What a person removes by hand is not the operator's to protect.
var invariants = []func(w *witness, c change) (broken string){
	newestVerifiedStays, replacedBeforeDeleted, neverAvailable, quarantinedStaysDown, oneWriter,
}

// witness records what exists, and what existed before.
type witness struct {
	byHand map[string]bool
	exists map[string]client.Object // by keyOf
	// newest verified snapshot of each cache before the change.
	newest map[string]string
	// lived on: the cache that a volume was the live one of.
	lived map[string]string
	// proven volumes: cloned from a verified snapshot, or verified by a Job.
	proven map[string]bool
	// down are the instances that are quarantined in a router's configuration.
	down map[string]bool
}

// hold replays a history and names every change that breaks an invariant.
func hold(history []change, byHand map[string]bool) (broken []string) {
	w := &witness{
		byHand: byHand, exists: map[string]client.Object{}, newest: map[string]string{},
		lived: map[string]string{}, proven: map[string]bool{}, down: map[string]bool{},
	}
	for _, c := range history {
		if w.exists[c.key] = c.object; c.gone {
			delete(w.exists, c.key)
		}
		w.learn()
		for _, invariant := range invariants {
			if b := invariant(w, c); b != "" {
				broken = append(broken, fmt.Sprintf("at revision %d (%s, gone: %v): %s", c.revision, c.key, c.gone, b))
			}
		}
		w.newest = w.newestVerified()
	}
	return broken
}

// all are the existing objects of a type.
func all[T client.Object](w *witness) []T {
	var out []T
	for _, key := range slices.Sorted(maps.Keys(w.exists)) {
		if o, ok := w.exists[key].(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// named is the existing object of a type and name, or nil.
func named[T client.Object](w *witness, name string) (found T) {
	for _, o := range w.exists {
		if t, ok := o.(T); ok && t.GetName() == name {
			return t
		}
	}
	return found
}

// caches that are not on their way out.
func (w *witness) caches() []*v1alpha1.GoCache {
	return slices.DeleteFunc(all[*v1alpha1.GoCache](w), func(c *v1alpha1.GoCache) bool {
		return !c.DeletionTimestamp.IsZero() || w.byHand[c.Name]
	})
}

// learn adds to what was seen.
func (w *witness) learn() {
	for _, c := range w.caches() {
		if claim := named[*corev1.PersistentVolumeClaim](w, c.Status.Storage.PersistentVolumeClaimName); claim != nil && claim.Spec.VolumeName != "" {
			w.lived[claim.Spec.VolumeName] = c.Name
		}
	}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w) {
		if claim.Spec.VolumeName != "" && w.cloneOfVerified(claim) {
			w.proven[claim.Spec.VolumeName] = true
		}
	}
	for _, job := range all[*batchv1.Job](w) {
		if !verifies(job) {
			continue
		}
		for _, v := range job.Spec.Template.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			if claim := named[*corev1.PersistentVolumeClaim](w, v.PersistentVolumeClaim.ClaimName); claim != nil && claim.Spec.VolumeName != "" {
				w.proven[claim.Spec.VolumeName] = true
			}
		}
	}
}

func (w *witness) cloneOfVerified(claim *corev1.PersistentVolumeClaim) bool {
	source := claim.Spec.DataSource
	if source == nil || source.Kind != "VolumeSnapshot" {
		return false
	}
	return slices.ContainsFunc(all[*v1alpha1.CacheSnapshot](w), func(s *v1alpha1.CacheSnapshot) bool {
		return s.Status.VolumeSnapshotName == source.Name && verified(s)
	})
}

// verifies reports whether a Job has found what it checked to be intact.
func verifies(job *batchv1.Job) bool {
	done := slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
	return done && slices.ContainsFunc(job.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.Contains(slices.Concat(c.Command, c.Args), "verify")
	})
}

func verified(s *v1alpha1.CacheSnapshot) bool {
	return meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.VerifiedCondition)
}

// newestVerified are the names of each cache's newest verified snapshot.
func (w *witness) newestVerified() map[string]string {
	newest := map[string]string{}
	for _, c := range w.caches() {
		var best *v1alpha1.CacheSnapshot
		for _, s := range all[*v1alpha1.CacheSnapshot](w) {
			if s.Spec.SourceRef.Kind == v1alpha1.GoCacheKind && s.Spec.SourceRef.Name == c.Name && verified(s) && s.DeletionTimestamp.IsZero() &&
				s.Spec.Verification.Mode != v1alpha1.VerificationSkip && (best == nil || created(s).After(created(best).Time)) {
				best = s
			}
		}
		if best != nil {
			newest[c.Name] = best.Name
		}
	}
	return newest
}

// created is when a snapshot was created.
func created(s *v1alpha1.CacheSnapshot) *metav1.Time {
	if s.Status.CreationTime != nil {
		return s.Status.CreationTime
	}
	return &s.CreationTimestamp
}

func newestVerifiedStays(w *witness, c change) string {
	s, ok := c.object.(*v1alpha1.CacheSnapshot)
	if !ok || !c.gone && s.DeletionTimestamp.IsZero() || w.byHand[s.Name] {
		return ""
	}
	for _, cache := range w.caches() {
		if w.newest[cache.Name] == s.Name {
			return fmt.Sprintf("CacheSnapshot %s is deleted, and is the newest verified one of GoCache %s", s.Name, cache.Name)
		}
	}
	return ""
}

func replacedBeforeDeleted(w *witness, c change) string {
	var doomed, claimName string
	switch o := c.object.(type) {
	case *corev1.PersistentVolume:
		if c.gone || !o.DeletionTimestamp.IsZero() {
			doomed = o.Name
		}
	case *corev1.PersistentVolumeClaim:
		pv := named[*corev1.PersistentVolume](w, o.Spec.VolumeName)
		if (c.gone || !o.DeletionTimestamp.IsZero()) && !w.byHand[o.Name] && pv != nil &&
			pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && holds(pv, o.Name, o.UID) {
			doomed = pv.Name
		}
	}
	cache := named[*v1alpha1.GoCache](w, w.lived[doomed])
	if doomed == "" || cache == nil || !cache.DeletionTimestamp.IsZero() || w.byHand[cache.Name] || w.byHand[doomed] {
		return ""
	}
	if claimName = cache.Status.Storage.PersistentVolumeClaimName; w.byHand[claimName] {
		return ""
	}
	for _, pv := range all[*corev1.PersistentVolume](w) {
		if pv.Name != doomed && w.proven[pv.Name] && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Name == claimName && pv.DeletionTimestamp.IsZero() {
			return ""
		}
	}
	return fmt.Sprintf("volume %s, on which GoCache %s lived, goes, and no verified volume is meant for PVC %s", doomed, cache.Name, claimName)
}

// holds reports whether a volume is the PVC's, and goes with it.
func holds(pv *corev1.PersistentVolume, claim string, uid types.UID) bool {
	return pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Name == claim && (pv.Spec.ClaimRef.UID == uid || pv.Spec.ClaimRef.UID == "")
}

func neverAvailable(_ *witness, c change) string {
	pv, ok := c.object.(*corev1.PersistentVolume)
	if !ok || c.gone || pv.Spec.ClaimRef != nil { // one that is reserved by name is called Available too, and is not
		return ""
	}
	return fmt.Sprintf("volume %s is reserved for no PVC (phase %s): any pending PVC of class %q may take it", pv.Name, pv.Status.Phase, pv.Spec.StorageClassName)
}

func quarantinedStaysDown(w *witness, c change) string {
	switch c.object.(type) {
	case *corev1.ConfigMap, *v1alpha1.ModProxy:
	default:
		return ""
	}
	for _, cm := range all[*corev1.ConfigMap](w) {
		proxy := named[*v1alpha1.ModProxy](w, cm.Labels[v1alpha1.ProxyLabel])
		if proxy == nil || cm.Data[weights.Key] == "" {
			continue
		}
		reported, err := weights.Parse([]byte(cm.Data[weights.Key]))
		if err != nil {
			return fmt.Sprintf("ConfigMap %s is not understood by routers: %v", cm.Name, err)
		}
		for _, i := range proxy.Status.Instances {
			instance, server := proxy.Name+"/"+i.Name, reported.Servers[i.Name]
			switch {
			case i.Quarantined == nil:
				delete(w.down, instance)
			case server.State == weights.Down:
				w.down[instance] = true
			case w.down[instance]:
				return fmt.Sprintf("instance %s is quarantined, and the router has %q, weight %d", instance, server.State, server.Weight)
			}
		}
	}
	return ""
}

func oneWriter(w *witness, c change) string {
	if _, ok := c.object.(*corev1.Pod); !ok || c.gone {
		return ""
	}
	for _, cache := range w.caches() {
		var writers []string
		for _, pod := range all[*corev1.Pod](w) {
			ours := pod.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue
			if ours && slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
				claim := v.PersistentVolumeClaim
				return claim != nil && claim.ClaimName == cache.Status.Storage.PersistentVolumeClaimName && !claim.ReadOnly
			}) {
				writers = append(writers, pod.Name)
			}
		}
		if len(writers) > 1 {
			return fmt.Sprintf("the pods %v may all write to PVC %s", writers, cache.Status.Storage.PersistentVolumeClaimName)
		}
	}
	return ""
}
