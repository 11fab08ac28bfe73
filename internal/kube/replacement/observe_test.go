package replacement_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
)

// ours are the labels of what is made for cache "ci".
func ours() map[string]string {
	return map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
}

func checkJob(labels map[string]string, ended bool) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-next", UID: "job-uid", Labels: labels}}
	if ended {
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	}
	return j
}

func checkPod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci-next-x", Labels: map[string]string{batchv1.JobNameLabel: "ci-next"}}}
}

// mounting is a pod that has a PVC mounted.
func mounting(name, claim string, labels map[string]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: "pod-uid", Labels: labels}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	return p
}

func claimOnly(name string) *corev1.PersistentVolumeClaim {
	c, _ := bound(name, name+"-volume")
	return c
}

// TestCheckFacts holds what is decided on of the integrity Job, and that what it
// needed counts until the last of it is gone.
func TestCheckFacts(t *testing.T) {
	for name, tt := range map[string]struct {
		objects []client.Object
		want    replacement.Check
	}{
		"nothing":              {nil, replacement.Check{}},
		"it runs":              {[]client.Object{checkJob(ours(), false), checkPod()}, replacement.Check{Exists: true, Run: "job-uid"}},
		"it ended":             {[]client.Object{checkJob(ours(), true), checkPod()}, replacement.Check{Exists: true, Ended: true, Run: "job-uid"}},
		"its pods are left":    {[]client.Object{checkPod()}, replacement.Check{Leftovers: true}},
		"its source is left":   {[]client.Object{claimOnly("ci-next-source")}, replacement.Check{Leftovers: true}},
		"it runs, on a source": {[]client.Object{checkJob(ours(), false), claimOnly("ci-next-source")}, replacement.Check{Exists: true, Run: "job-uid", Leftovers: true}},
	} {
		w := newWorld(t, tt.objects...)
		w.run.Intent.JobUID = "job-uid"
		o, err := w.run.Observe(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, o.Facts(w.run.Intent).Check); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestFacts(t *testing.T) {
	w := newWorld(t, claimOnly("ci-next"), claimOnly("ci-previous"))
	w.run.Intent.PreviousVolume, w.run.Intent.NextVolume, w.run.Intent.Failure = "old", "gone", "why"
	w.run.Owner.SetFinalizers([]string{"another"})
	o, err := w.run.Observe(t.Context())
	w.must(err)
	f := o.Facts(w.run.Intent)
	for what, wrong := range map[string]bool{
		"live":     !f.Live.Exists || !f.Live.Bound || f.Live.Volume != "old" || f.Live.Deleting,
		"next":     !f.Next.Exists || f.Next.Volume != "ci-next-volume",
		"previous": !f.Previous.Exists || f.Previous.Volume != "ci-previous-volume",
		"old":      !f.Old.Exists || f.Old.Holder != replacement.HeldByLive || f.Old.Secured || f.Old.Marked,
		"new":      f.New.Exists,
		"intent":   f.Intent.Old != "old" || f.Intent.New != "gone" || !f.Intent.GivenUp,
		"held":     f.Held,
	} {
		if wrong {
			t.Errorf("%s: %+v", what, f)
		}
	}
	w.run.Owner.SetFinalizers([]string{v1alpha1.VolumeReplacementFinalizer})
	o, err = w.run.Observe(t.Context())
	w.must(err)
	if !o.Facts(w.run.Intent).Held {
		t.Error("the owner has the finalizer, and is not held")
	}
}

// TestConsumers holds that the owner's own pods are kept apart from those that
// may be evicted.
func TestConsumers(t *testing.T) {
	objects := []client.Object{mounting("own", "ci", ours()), mounting("other-pvc", "ci-next", nil)}
	for i := range 40 {
		objects = append(objects, mounting(fmt.Sprintf("build-%02d", i), "ci", nil))
	}
	for _, tt := range []struct {
		name      string
		own       func(*corev1.Pod) bool
		consumers int
		owns      int
	}{
		{"none is the owner's", nil, 41, 0},
		{"one is the owner's", func(p *corev1.Pod) bool { return p.Labels[v1alpha1.CacheLabel] == "ci" }, 40, 1},
	} {
		w := newWorld(t, objects...)
		w.run.OwnPod = tt.own
		o, err := w.run.Observe(t.Context())
		w.must(err)
		if len(o.Consumers) != tt.consumers || len(o.OwnPods) != tt.owns || o.Facts(w.run.Intent).Consumers != tt.consumers {
			t.Errorf("%s: %d consumers, %d own pods", tt.name, len(o.Consumers), len(o.OwnPods))
		}
		names := o.ConsumerNames()
		if len(names) != 32 || names[0] != "build-00" || names[31] != "build-31" {
			t.Errorf("%s: names %v", tt.name, names)
		}
	}
	if names := (replacementrun.Observed{}).ConsumerNames(); names != nil {
		t.Errorf("of no consumer: %v", names)
	}
}

// TestConflict holds that an object of a needed name that is not the owner's is
// reported, and nothing is written meanwhile.
func TestConflict(t *testing.T) {
	foreign := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "other"}
	claim := func(name string, labels map[string]string) client.Object {
		c := claimOnly(name)
		c.Labels = labels
		return c
	}
	for name, tt := range map[string]struct {
		object client.Object
		kind   string
	}{
		"a user's next PVC":               {claim("ci-next", nil), "PersistentVolumeClaim"},
		"another cache's next PVC":        {claim("ci-next", foreign), "PersistentVolumeClaim"},
		"a user's source":                 {claim("ci-next-source", nil), "PersistentVolumeClaim"},
		"a user's previous PVC":           {claim("ci-previous", nil), "PersistentVolumeClaim"},
		"a user's Job":                    {checkJob(nil, true), "Job"},
		"another cache's Job":             {checkJob(foreign, true), "Job"},
		"a Job that something else owns":  {owned(checkJob(ours(), true)), "Job"},
		"a PVC that something else owns":  {owned(claim("ci-next", ours())), "PersistentVolumeClaim"},
		"a live PVC that something owns ": {nil, "PersistentVolumeClaim"},
	} {
		w := newWorld(t)
		if tt.object != nil {
			w.must(w.client.Create(t.Context(), tt.object))
		} else {
			live := get[corev1.PersistentVolumeClaim](w, "ci")
			owned(live)
			w.must(w.client.Update(t.Context(), live))
		}
		var named *apply.ConflictError
		if err := w.run.CheckNames(t.Context()); !errors.As(err, &named) || named.Kind != tt.kind {
			t.Errorf("%s: the names are free: %v", name, err)
		}
		_, writes, err := w.tryAdvance()
		var conflict *apply.ConflictError
		if !errors.As(err, &conflict) || conflict.Kind != tt.kind || conflict.Namespace != "n" {
			t.Errorf("%s: error %v", name, err)
		}
		if len(writes) > 0 {
			t.Errorf("%s: written %v", name, writes)
		}
	}
}

func owned[T client.Object](o T) T {
	controller := true
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x-uid", Controller: &controller}})
	return o
}

// TestReadFails holds that what cannot be read is never named for absent: any
// read that fails ends the pass, with nothing written.
func TestReadFails(t *testing.T) {
	w := newWorld(t, claimOnly("ci-next"), claimOnly("ci-previous"), claimOnly("ci-next-source"), checkJob(ours(), true))
	w.run.Intent.PreviousVolume, w.run.Intent.NextVolume = "old", "ci-next-volume"
	var reads []string
	w.fail = func(verb, kind, name string) error {
		reads = append(reads, verb+" "+kind+" "+name)
		return nil
	}
	w.passing = true
	_, err := w.run.Observe(t.Context())
	w.must(err)
	if len(reads) < 9 {
		t.Fatalf("reads: %v", reads)
	}
	for i := range reads {
		n := 0
		failed := ""
		w.fail = func(verb, kind, name string) error {
			if n++; n == i+1 { // PVCs are read in any order
				failed = verb + " " + kind + " " + name
				return errBroken
			}
			return nil
		}
		_, writes, err := w.tryAdvance()
		if !errors.Is(err, errBroken) || len(writes) > 0 {
			t.Errorf("%s fails: %v, written %v", failed, err, writes)
		}
	}
}
