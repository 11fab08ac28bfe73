package crash

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// scenario writes a history.
type scenario []change

func (s *scenario) is(o client.Object) *scenario {
	*s = append(*s, change{revision: uint64(len(*s) + 1), key: keyOf(o), object: o.DeepCopyObject().(client.Object)})
	return s
}

func (s *scenario) gone(o client.Object) *scenario {
	s.is(o)
	(*s)[len(*s)-1].gone = true
	return s
}

func cache() *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	c.Status.Storage.PersistentVolumeClaimName = "ci"
	return c
}

func snapshot(name string, verified metav1.ConditionStatus, seconds int64) *v1alpha1.CacheSnapshot {
	s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(seconds, 0)}}
	s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	s.Status.VolumeSnapshotName = name + "-csi"
	s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.VerifiedCondition, Status: verified}}
	return s
}

func claim(name, volume, from string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + volume)}}
	c.Spec.VolumeName = volume
	if from != "" {
		c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot", Name: from}
	}
	return c
}

func volume(name, claim string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.PersistentVolumeReclaimPolicy = policy
	if claim != "" {
		v.Spec.ClaimRef = &corev1.ObjectReference{Name: claim}
	}
	return v
}

func writer(name, claim string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}}}
	p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	return p
}

func verification(claim string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "verify"}}
	j.Spec.Template.Spec = writer("", claim).Spec
	j.Spec.Template.Spec.Containers = []corev1.Container{{Command: []string{"/gocache-agent", "verify"}}}
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	return j
}

func proxy(quarantined bool) *v1alpha1.ModProxy {
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Name: "goproxy"}}
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue"}}
	if quarantined {
		p.Status.Instances[0].Quarantined = &v1alpha1.Quarantine{}
	}
	return p
}

func reported(state string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "weights", Labels: map[string]string{v1alpha1.ProxyLabel: "goproxy"}},
		Data:       map[string]string{"weights.json": `{"version":1,"owner":"o","generation":1,"servers":{"blue":{` + state + `}}}`},
	}
}

const (
	keep  = corev1.PersistentVolumeReclaimRetain
	erase = corev1.PersistentVolumeReclaimDelete
)

// TestHold shows each invariant a history that keeps it, and one that breaks
// it: an invariant that never fails proves nothing.
func TestHold(t *testing.T) {
	lived := func() *scenario {
		return (&scenario{}).is(cache()).is(volume("p0", "ci", erase)).is(claim("ci", "p0", ""))
	}
	dying := cache()
	dying.DeletionTimestamp = &metav1.Time{Time: metav1.Unix(9, 0).Time}
	tests := map[string]struct {
		history *scenario
		byHand  []string
		broken  string // empty: nothing is
	}{
		"an older verified one goes": {history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).is(snapshot("b", "True", 2)).gone(snapshot("a", "True", 1))},
		"an unverified one goes":     {history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).is(snapshot("b", "False", 2)).gone(snapshot("b", "False", 2))},
		"the newest verified goes": {
			history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).is(snapshot("b", "True", 2)).gone(snapshot("b", "True", 2)),
			broken:  "newest verified",
		},
		"the newest verified goes before the next is": {
			history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).is(snapshot("b", "Unknown", 2)).gone(snapshot("a", "True", 1)),
			broken:  "newest verified",
		},
		"a person removes it":     {history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).gone(snapshot("a", "True", 1)), byHand: []string{"a"}},
		"it goes with the cache":  {history: (&scenario{}).is(cache()).is(snapshot("a", "True", 1)).gone(cache()).gone(snapshot("a", "True", 1))},
		"it goes after the cache": {history: (&scenario{}).is(dying).is(snapshot("a", "True", 1)).gone(snapshot("a", "True", 1))},

		"a live volume goes":       {history: lived().gone(volume("p0", "ci", erase)), broken: "no verified volume"},
		"a live claim goes":        {history: lived().gone(claim("ci", "p0", "")), broken: "no verified volume"},
		"a kept live claim goes":   {history: lived().is(volume("p0", "ci", keep)).gone(claim("ci", "p0", ""))},
		"somebody else's goes":     {history: lived().is(volume("p9", "other", erase)).is(claim("other", "p9", "")).gone(claim("other", "p9", "")).gone(volume("p9", "other", erase))},
		"replaced by an unknown":   {history: lived().is(volume("p1", "ci", erase)).gone(volume("p0", "ci", erase)), broken: "no verified volume"},
		"replaced by a verified":   {history: lived().is(volume("p1", "next", erase)).is(claim("next", "p1", "")).is(verification("next")).is(volume("p1", "ci", erase)).gone(volume("p0", "ci", erase))},
		"replaced, but not yet":    {history: lived().is(volume("p1", "next", erase)).is(claim("next", "p1", "")).is(verification("next")).gone(volume("p0", "ci", erase)), broken: "no verified volume"},
		"replaced by a clone":      {history: lived().is(snapshot("a", "True", 1)).is(claim("next", "p1", "a-csi")).is(volume("p1", "ci", erase)).gone(volume("p0", "ci", erase))},
		"replaced by a bad clone":  {history: lived().is(snapshot("a", "False", 1)).is(claim("next", "p1", "a-csi")).is(volume("p1", "ci", erase)).gone(volume("p0", "ci", erase)), broken: "no verified volume"},
		"a person removes a claim": {history: lived().gone(claim("ci", "p0", "")), byHand: []string{"ci"}},

		"a volume is free": {history: (&scenario{}).is(volume("p0", "ci", keep)).is(volume("p0", "", keep)), broken: "may take it"},

		"a quarantined one comes back": {history: (&scenario{}).is(proxy(false)).is(reported(`"state":"down"`)).is(proxy(true)).is(reported(`"state":"ready","weight":1`)), broken: "is quarantined, and the router has"},
		"a quarantined one is drained": {history: (&scenario{}).is(proxy(true)).is(reported(`"state":"down"`)).is(reported(`"state":"drain"`)), broken: "is quarantined, and the router has"},
		"a reinstated one comes back":  {history: (&scenario{}).is(proxy(true)).is(reported(`"state":"down"`)).is(proxy(false)).is(reported(`"state":"ready","weight":1`))},

		"one writer":            {history: lived().is(writer("a", "ci")).is(writer("b", "other")).gone(writer("a", "ci")).is(writer("b", "ci"))},
		"two writers":           {history: lived().is(writer("a", "ci")).is(writer("b", "ci")), broken: "may all write"},
		"a user's pod beside":   {history: lived().is(writer("a", "ci")).is(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: writer("b", "ci").Spec})},
		"two writers of others": {history: lived().is(writer("a", "next")).is(writer("b", "next"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			byHand := map[string]bool{}
			for _, n := range tt.byHand {
				byHand[n] = true
			}
			broken := hold(*tt.history, byHand)
			if tt.broken == "" && len(broken) > 0 {
				t.Errorf("broken: %q", broken)
			}
			if tt.broken != "" && !slices.ContainsFunc(broken, func(b string) bool { return strings.Contains(b, tt.broken) }) {
				t.Errorf("broken: %q, want %q", broken, tt.broken)
			}
		})
	}
}
