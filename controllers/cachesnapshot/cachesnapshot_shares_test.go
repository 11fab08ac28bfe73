package cachesnapshot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/queue"
)

// TestUnschedulableVerificationsDelayNoOtherNamespace creates more snapshots than
// there are places in one namespace, all of which select a node that does not exist.
// The snapshot of another namespace is verified within minutes, also if there is
// only one place.
func TestUnschedulableVerificationsDelayNoOtherNamespace(t *testing.T) {
	for _, places := range []int{1, 4} {
		t.Run(fmt.Sprint(places, " places"), func(t *testing.T) {
			attacker, victim := newWorld(t), newWorld(t)
			attacker.ending = nil
			attacker.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
			}}}
			attacker.cache()
			tenant := server.Tenant(t, attacker.namespace)
			for i := range places + 2 {
				attacker.must(tenant.Create(t.Context(), &v1alpha1.CacheSnapshot{
					ObjectMeta: metav1.ObjectMeta{Namespace: attacker.namespace, Name: fmt.Sprint("s", i)},
					Spec: v1alpha1.CacheSnapshotSpec{
						SourceRef:    v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"},
						PodTemplate:  &v1alpha1.PodTemplate{NodeSelector: map[string]string{"no": "such-node"}},
						Verification: v1alpha1.Verification{Deadline: &metav1.Duration{Duration: 168 * time.Hour}},
					},
				}))
			}
			shared := victim.fresh(server.Client)
			shared.lines = lines{creations: queue.New(places), verifications: queue.New(places)}
			attacker.reconciler, victim.reconciler = shared, shared
			pass := func(w *world, name string) {
				_, err := shared.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: name}})
				w.must(err)
			}
			for range 20 {
				for i := range places + 2 {
					pass(attacker, fmt.Sprint("s", i))
				}
				_, err := attacker.cluster.Step(t.Context())
				attacker.must(err)
			}
			victim.cache()
			victim.snapshot()
			began := victim.now
			for victim.reason() != v1alpha1.ReasonIntact {
				if victim.now.Sub(began) > 3*time.Minute {
					t.Fatalf("after %v Ready is %s", victim.now.Sub(began), victim.reason())
				}
				for i := range places + 2 { // the unschedulable ones are reconciled first
					pass(attacker, fmt.Sprint("s", i))
				}
				pass(victim, "s")
				_, err := victim.cluster.Step(t.Context())
				victim.must(err)
				victim.now = victim.now.Add(5 * time.Second)
				attacker.now = victim.now
			}
		})
	}
}

// TestLongVerificationsDelayNoOtherNamespace checks that two namespaces whose
// verifications have had all places for long delay no other one, and begin no more than
// their share themselves.
func TestLongVerificationsDelayNoOtherNamespace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	snapshot := func(namespace string, i int, start time.Time, repeats bool) *v1alpha1.CacheSnapshot {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, UID: types.UID(fmt.Sprint(namespace, i))}}
		if start.IsZero() {
			return s
		}
		s.Status.Stages = []v1alpha1.StageStatus{{Name: stageVerify, StartTime: metav1.NewTime(start)}}
		if repeats { // it was verified long ago
			s.Status.Stages[0].StartTime = metav1.NewTime(now.Add(-100 * time.Hour))
			s.Status.Verification.Verdict = v1alpha1.VerdictIntact
			s.Status.Repeat = &v1alpha1.RepeatStatus{StartTime: metav1.NewTime(start)}
		}
		return s
	}
	for name, tt := range map[string]struct {
		held    time.Duration
		repeats bool
		others  bool // those of another namespace begin
	}{
		"half an hour":               {30 * time.Minute, false, false},
		"two hours":                  {2 * time.Hour, false, true},
		"a repetition, half an hour": {30 * time.Minute, true, false},
		"a repetition, two hours":    {2 * time.Hour, true, true},
	} {
		known := map[string]queue.Work{}
		ask := func(line *queue.Line, namespace string) bool {
			waits := snapshot(namespace, 9, time.Time{}, false)
			known[string(waits.UID)] = queue.Work{Share: namespace}
			begin, _, _ := line.Ask(queue.Ticket{ID: string(waits.UID), Share: namespace, Since: now}, known, now)
			return begin
		}
		for i := range 4 {
			s := snapshot([]string{"a", "a", "a", "b"}[i], i, now.Add(-tt.held), tt.repeats)
			known[string(s.UID)] = queue.Work{Share: s.Namespace, State: verifying(s, jobState{runs: true, created: now.Add(-tt.held)}, now)}
		}
		line := queue.New(4)
		if ask(line, "a") {
			t.Errorf("%s: a namespace begins more than its share", name)
		}
		if got := ask(line, "c"); got != tt.others {
			t.Errorf("%s: another namespace begins: %v, want %v", name, got, tt.others)
		}
	}
}

// TestTheCauseOutlivesTheDeadline checks that a verification whose pod never ran
// still reports the cause after the deadline, when the pod is deleted.
func TestTheCauseOutlivesTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node has that label",
	}}}
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Deadline = &metav1.Duration{Duration: 10 * time.Minute}
	})
	w.settle()
	w.stalled(v1alpha1.ReasonDeadlineExceeded, "no node has that label")
	columns := server.Columns(t, "cachesnapshots", w.namespace, "s")
	if got := columns["Verdict"]; got != v1alpha1.ReasonDeadlineExceeded || !strings.Contains(columns["Status"], "No verdict within") {
		t.Errorf("kubectl get shows the verdict %q: %v", got, columns)
	}
	var again v1alpha1.CacheSnapshot
	w.passes(2)
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &again))
	if message := again.Status.Verification.Message; !strings.Contains(message, "no node has that label") {
		t.Errorf("the status says %q", message)
	}
}
