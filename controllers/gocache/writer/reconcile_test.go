package writer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/verification"
	plan "gocache.dev/operator/internal/plan/writer"
	"gocache.dev/operator/internal/testing/failing"
)

var errBroken = errors.New("the server is down")

// due is declared with a warm-up that is due.
func due(t *testing.T, objects ...client.Object) *turn {
	t.Helper()
	turn := declared(t, objects...)
	turn.cache.Status.WarmUp = v1alpha1.WarmUpStatus{}
	turn.Run.Phase = jobrun.Absent
	turn.Stored = turn.cache.DeepCopy()
	return turn
}

// jobOf is the Job of an action as the operator has created it.
func jobOf(t *testing.T, a action, uid string) *batchv1.Job {
	t.Helper()
	turn := due(t)
	job, err := a.job(t.Context(), turn, plan.DueAction{})
	if err != nil {
		t.Fatal(err)
	}
	job.UID = types.UID(uid)
	job.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	job.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.GoCacheKind, Name: "ci", UID: "cache-uid", Controller: ptr.To(true)}}
	return job
}

// another is a Job that another client has created in its place.
func another(job *batchv1.Job) *batchv1.Job {
	job.Spec.Template.Spec.Containers[0].Command = []string{"sh"}
	return job
}

// leftPod is a pod of the writer's name.
func leftPod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "left", Labels: map[string]string{batchv1.JobNameLabel: "ci-writer"}}}
	change(p)
	return p
}

func writerJob(t *testing.T, c client.Reader) *batchv1.Job {
	t.Helper()
	job, err := read.Object[batchv1.Job](t.Context(), c, "n", "ci-writer")
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// TestStart holds when a writer is started that is due, and what it waits for otherwise.
func TestStart(t *testing.T) {
	snapshot := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}, Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}}}
	snapshot.Status.StartTime = &metav1.Time{Time: now}
	lost := leftPod(func(p *corev1.Pod) {
		p.Spec.NodeName, p.Finalizers, p.DeletionTimestamp = "node-1", []string{"test/hold"}, &metav1.Time{Time: now.Add(-time.Hour)}
	})
	nothing := func(*turn) {}
	for name, tt := range map[string]struct {
		objects []client.Object
		change  func(*turn)
		started plan.Action
		waits   string // of the warm-up
		event   string
		wake    time.Duration
		job     bool
	}{
		"nothing is in the way":                       {nil, nothing, plan.WarmUp, "", "WarmUpStarted", time.Minute, true},
		"it was started a moment ago":                 {[]client.Object{jobOf(t, warmUp{}, "j1")}, func(t *turn) { t.cache.Status.WriterJobUID = "j1" }, "", "", "", time.Second, true},
		"another client's Job has its name":           {[]client.Object{another(jobOf(t, warmUp{}, "j1"))}, nothing, "", "the Job of the last run to be gone", "UntrustedJob", time.Second, false},
		"one that runs the same":                      {[]client.Object{jobOf(t, warmUp{}, "j1")}, nothing, plan.WarmUp, "", "WarmUpStarted", time.Minute, true},
		"a pod is left":                               {[]client.Object{leftPod(func(*corev1.Pod) {})}, nothing, "", "the pod of the last run to be gone", "", time.Second, false},
		"a pod is lost":                               {[]client.Object{leftPod(func(p *corev1.Pod) { p.Name = "a" }), lost}, nothing, "", "the pod of the last run to be gone: node node-1 does not report", "", time.Second, false},
		"a pod of another owner":                      {[]client.Object{leftPod(func(*corev1.Pod) {})}, func(t *turn) { t.ForeignWriter = true }, plan.WarmUp, "", "WarmUpStarted", time.Minute, true},
		"the Job of a GoCache that is gone":           {nil, func(t *turn) { t.PredecessorWriter = true }, "", "the pod of the last run to be gone", "", time.Second, false},
		"a snapshot that the cache does not show yet": {[]client.Object{snapshot}, nothing, "", "CacheSnapshot s to be created", "", time.Minute, false},
		"no PVC":              {nil, func(t *turn) { t.PVC = nil }, "", "the PVC to be created", "", time.Minute, false},
		"a PVC that is going": {nil, func(t *turn) { t.PVC.DeletionTimestamp = &metav1.Time{Time: now} }, "", "the old PVC to be gone", "", time.Minute, false},
	} {
		turn := due(t, tt.objects...)
		tt.change(turn)
		out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if out.Started != tt.started || (out.Cause == "the cache is new") != (tt.started != "") || !strings.HasPrefix(out.Waits[plan.WarmUp], tt.waits) || (out.Waits[plan.WarmUp] == "") != (tt.waits == "") {
			t.Errorf("%s: %+v", name, out)
		}
		if got := notes(out.Events); (got == "") != (tt.event == "") || !strings.Contains(got, tt.event) || len(out.Events) > 1 {
			t.Errorf("%s: events %s", name, got)
		}
		if out.Wake != tt.wake {
			t.Errorf("%s: wakes in %s, want %s", name, out.Wake, tt.wake)
		}
		job := writerJob(t, turn.Client)
		if (job != nil) != tt.job {
			t.Errorf("%s: there is a Job: %t", name, job != nil)
		}
		if tt.started != "" && turn.cache.Status.WriterJobUID != string(job.UID) || tt.started == "" && turn.cache.Status.WriterJobUID != "" && turn.cache.Status.WriterJobUID != "j1" {
			t.Errorf("%s: the uid %q is recorded", name, turn.cache.Status.WriterJobUID)
		}
		if name == "a snapshot that the cache does not show yet" && len(out.Snapshots) != 1 {
			t.Errorf("later parts see %d snapshots", len(out.Snapshots))
		}
	}
}

// TestStartNear holds that a writer is started on the node where its volume is.
func TestStartNear(t *testing.T) {
	build := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "build"}, Spec: corev1.PodSpec{NodeName: "node-1", Volumes: []corev1.Volume{
		{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}},
	}}}
	turn := due(t, build)
	if _, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed); err != nil {
		t.Fatal(err)
	}
	affinity := writerJob(t, turn.Client).Spec.Template.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || len(affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms) == 0 {
		t.Errorf("affinity %+v", affinity)
	}
}

// consumerOn is a pod that uses the cache PVC on a node.
func consumerOn(node string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "on-" + node}, Spec: corev1.PodSpec{NodeName: node, Volumes: []corev1.Volume{
		{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}},
	}}}
	p.Status.Phase = corev1.PodRunning
	for _, f := range change {
		f(p)
	}
	return p
}

// The states of a consumer other than that it runs.
func waiting(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
func second(p *corev1.Pod)  { p.Name += "-2" }
func lost(p *corev1.Pod)    { endsAt(now.Add(-time.Hour))(p) }
func endsAt(end time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Finalizers, p.DeletionTimestamp = []string{"test/hold"}, &metav1.Time{Time: end}
	}
}

// TestStartLost holds that no writer is started where a node does not report the end of a
// pod that uses the PVC, nor elsewhere, unless a pod runs there that uses it.
func TestStartLost(t *testing.T) {
	for name, tt := range map[string]struct {
		pods []client.Object
		many bool
		node string // that the writer has to run on
		lost string // the node that is waited for
	}{
		"none":                              {nil, false, "", ""},
		"it is lost":                        {[]client.Object{consumerOn("a", lost)}, false, "", "a"},
		"it is lost, and many may have it":  {[]client.Object{consumerOn("a", lost)}, true, "", ""},
		"it is about to end":                {[]client.Object{consumerOn("a", endsAt(now))}, false, "a", ""},
		"it has ended":                      {[]client.Object{consumerOn("a", lost, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}, false, "", ""},
		"another runs elsewhere":            {[]client.Object{consumerOn("a", lost), consumerOn("b")}, false, "b", ""},
		"another runs there":                {[]client.Object{consumerOn("a", lost), consumerOn("a", second)}, false, "", "a"},
		"another that runs there is first":  {[]client.Object{consumerOn("a"), consumerOn("a", lost, second)}, false, "", "a"},
		"another waits elsewhere":           {[]client.Object{consumerOn("a", waiting), consumerOn("b", lost)}, false, "", "b"},
		"one waits, and another runs":       {[]client.Object{consumerOn("a", waiting), consumerOn("b")}, false, "b", ""},
		"two run":                           {[]client.Object{consumerOn("a"), consumerOn("b")}, false, "a", ""},
		"two wait":                          {[]client.Object{consumerOn("a", waiting), consumerOn("b", waiting)}, false, "a", ""},
		"two are lost, and one runs beside": {[]client.Object{consumerOn("a", lost), consumerOn("b", lost), consumerOn("b", second)}, false, "", "a"},
	} {
		turn := due(t, tt.pods...)
		if tt.many {
			turn.cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}
		out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		job := writerJob(t, turn.Client)
		if (job == nil) != (tt.lost != "") || job != nil && podspec.NodeOf(&job.Spec.Template.Spec) != tt.node {
			t.Errorf("%s: Job %+v, want one on node %q", name, job, tt.node)
		}
		if waits := out.Waits[plan.WarmUp]; (waits == "") != (tt.lost == "") || waits != "" && !strings.HasPrefix(waits, "node "+tt.lost+" does not report") {
			t.Errorf("%s: waits for %q", name, waits)
		}
		if out.Wake != pass.Interval {
			t.Errorf("%s: wakes in %s", name, out.Wake)
		}
	}
}

// TestRunningElsewhere holds that a writer that has to run on a node is replaced if it
// would not have to any more, unless its pod goes on there: it has a node, and nothing
// shows that the volume is on another one.
func TestRunningElsewhere(t *testing.T) {
	own := func(node string, change ...func(*corev1.Pod)) *corev1.Pod { // the pod of the writer
		return consumerOn(node, append([]func(*corev1.Pod){waiting, func(p *corev1.Pod) {
			p.Name, p.Labels = "own", map[string]string{batchv1.JobNameLabel: "ci-writer"}
		}}, change...)...)
	}
	fetched := func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "install", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	}
	nothing := func(*turn) {}
	for name, tt := range map[string]struct {
		bound  string
		pods   []client.Object
		change func(*turn)
		gone   bool
	}{
		"the consumer runs":                           {"a", []client.Object{consumerOn("a")}, nothing, false},
		"the consumer waits":                          {"a", []client.Object{consumerOn("a", waiting)}, nothing, false},
		"the consumer is about to end":                {"a", []client.Object{consumerOn("a", endsAt(now))}, nothing, false},
		"the consumer is gone":                        {"a", nil, nothing, true},
		"it is gone, and the pod has no node":         {"a", []client.Object{own("")}, nothing, true},
		"it is gone, and the pod has the node":        {"a", []client.Object{own("a")}, nothing, false},
		"it has ended":                                {"a", []client.Object{consumerOn("a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })}, nothing, true},
		"it is lost":                                  {"a", []client.Object{consumerOn("a", lost)}, nothing, true},
		"it is lost, and the pod has the node":        {"a", []client.Object{consumerOn("a", lost), own("a")}, nothing, false},
		"another runs elsewhere":                      {"a", []client.Object{consumerOn("b"), own("")}, nothing, true},
		"another runs elsewhere, and the pod waits":   {"a", []client.Object{consumerOn("b"), own("a")}, nothing, true},
		"another runs elsewhere, and the pod fetches": {"a", []client.Object{consumerOn("b"), own("a", fetched)}, nothing, false},
		"another waits elsewhere, and the pod waits":  {"a", []client.Object{consumerOn("b", waiting), own("a")}, nothing, false},
		"another waits elsewhere":                     {"a", []client.Object{consumerOn("b", waiting), own("")}, nothing, true},
		"one runs, and the first runs elsewhere":      {"b", []client.Object{consumerOn("a"), consumerOn("b")}, nothing, false},
		"one waits, and the first waits elsewhere":    {"b", []client.Object{consumerOn("a", waiting), consumerOn("b", waiting)}, nothing, false},
		"one waits, and another runs elsewhere":       {"a", []client.Object{consumerOn("a", waiting), consumerOn("b")}, nothing, true},
		"it is free to run anywhere":                  {"", []client.Object{consumerOn("b")}, nothing, false},
		"many nodes can have the volume now": {"a", []client.Object{consumerOn("a")}, func(t *turn) {
			t.cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, true},
		"it is gone, and a source is missing":          {"a", nil, func(t *turn) { t.SourceMissing = "read" }, false},
		"it is gone, and what would run is not known":  {"a", nil, func(t *turn) { t.PVC = nil }, false},
		"it is gone, and the container runs":           {"a", nil, func(t *turn) { t.Run.Ready = true }, false},
		"it is gone, and the Job is of a past release": {"a", nil, func(t *turn) { delete(t.Writer.Annotations, jobrun.TemplateAnnotation) }, true},
	} {
		job := jobOf(t, warmUp{}, "j1")
		podspec.Near(&job.Spec.Template.Spec, podspec.OnNode(tt.bound))
		turn := due(t, append(tt.pods, job)...)
		turn.Writer, turn.Run = job, jobrun.Outcome{Phase: jobrun.Running, Run: "j1"}
		tt.change(turn)
		out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
		if err != nil || out.Started != "" || len(out.Waits) > 0 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		if gone := writerJob(t, turn.Client) == nil; gone != tt.gone || gone != (out.Wake == time.Second) {
			t.Errorf("%s: the Job is gone: %t; wakes in %s", name, gone, out.Wake)
		}
		if got := notes(out.Events); tt.gone != strings.Contains(got, "JobReplaced") || tt.gone && !strings.Contains(got, "node "+tt.bound) {
			t.Errorf("%s: events %s", name, got)
		}
	}
}

// TestNextInLine holds that an action whose start turns out to have to wait, or to need a
// person, keeps the next one from nothing.
func TestNextInLine(t *testing.T) {
	turn := declared(t)
	turn.Run.Phase = jobrun.Absent
	turn.Live = clusterOf(t, interceptor.Funcs{}) // the trust data is not there
	accept(turn, v1alpha1.RequestReportFailure)
	turn.cache.Spec.Toolchain.Version = "1.26.9"
	out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
	if err != nil || out.Started != plan.WarmUp || !strings.Contains(out.Waits[plan.Integrity], "ConfigMap sums") {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestStartFails holds that a read or a write that fails starts nothing, and is returned.
func TestStartFails(t *testing.T) {
	failsFor := func(is func(client.Object) bool) interceptor.Funcs {
		return interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
				if is(o) {
					return errBroken
				}
				return c.Get(ctx, key, o, options...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				_, pods := list.(*corev1.PodList)
				of := client.ListOptions{}
				of.ApplyOptions(options)
				if byJob := of.LabelSelector != nil; pods && (byJob && is(&corev1.Pod{}) || !byJob && is(&corev1.Node{})) {
					return errBroken
				}
				if _, snapshots := list.(*v1alpha1.CacheSnapshotList); snapshots && is(&v1alpha1.CacheSnapshot{}) {
					return errBroken
				}
				return c.List(ctx, list, options...)
			},
		}
	}
	for name, is := range map[string]func(client.Object) bool{
		"the Job":                  func(o client.Object) bool { _, is := o.(*batchv1.Job); return is },
		"the snapshots":            func(o client.Object) bool { _, is := o.(*v1alpha1.CacheSnapshot); return is },
		"the pods of the writer":   func(o client.Object) bool { _, is := o.(*corev1.Pod); return is },
		"the pods with the volume": func(o client.Object) bool { _, is := o.(*corev1.Node); return is },
	} {
		turn := due(t)
		turn.Live = clusterOf(t, failsFor(is))
		turn.Snapshots = []v1alpha1.CacheSnapshot{{ObjectMeta: metav1.ObjectMeta{Name: "ci-1"}}}
		out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
		if !errors.Is(err, errBroken) || out.Started != "" {
			t.Errorf("%s cannot be read: %v, started %q", name, err, out.Started)
		}
		if name == "the snapshots" && len(out.Snapshots) != 1 {
			t.Errorf("%s cannot be read, and the parts after this one see %d, want the one that was observed", name, len(out.Snapshots))
		}
	}
	turn := due(t)
	turn.Client = clusterOf(t, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return errBroken }})
	if out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed); !errors.Is(err, errBroken) || out.Started != "" || turn.cache.Status.WriterJobUID != "" {
		t.Errorf("the Job cannot be created: %v, started %q", err, out.Started)
	}
}

// TestRunning holds what a pass does while there is a Job: it starts nothing, replaces a
// Job whose container has not run and that would be created otherwise now, and removes
// one when its outcome is stored.
func TestRunning(t *testing.T) {
	outdated := func(t *testing.T) *batchv1.Job {
		job := jobOf(t, warmUp{}, "j1")
		job.Annotations[jobrun.TemplateAnnotation] = "another"
		return job
	}
	running := func(ready bool) func(*turn) {
		return func(t *turn) { t.Run = jobrun.Outcome{Phase: jobrun.Running, Run: "j1", Ready: ready} }
	}
	over := func(stored string) func(*turn) {
		return func(t *turn) {
			t.Run = jobrun.Outcome{Phase: jobrun.Ended, Run: "j1"}
			t.Stored.Status.WarmUp.Run = stored
		}
	}
	for name, tt := range map[string]struct {
		job    *batchv1.Job
		change func(*turn)
		event  string
		wake   time.Duration
		gone   bool
	}{
		"it runs":                                {jobOf(t, warmUp{}, "j1"), running(true), "", 5 * time.Second, false},
		"it runs, and is outdated":               {outdated(t), running(true), "", 5 * time.Second, false},
		"it has not run":                         {jobOf(t, warmUp{}, "j1"), running(false), "", 5 * time.Second, false},
		"it has not run and is outdated":         {outdated(t), running(false), "JobReplaced", time.Second, true},
		"outdated, and a source is missing":      {outdated(t), func(t *turn) { running(false)(t); t.SourceMissing = "read" }, "", 5 * time.Second, false},
		"outdated, and the new one is not known": {outdated(t), func(t *turn) { running(false)(t); t.PVC = nil }, "", 5 * time.Second, false},
		"outdated, of another release":           {func() *batchv1.Job { job := outdated(t); job.Labels[v1alpha1.ActionLabel] = "polish"; return job }(), running(false), "", 5 * time.Second, false},
		"it is being deleted":                    {outdated(t), func(t *turn) { t.Run = jobrun.Outcome{Phase: jobrun.Deleting, Run: "j1"} }, "", 30 * time.Second, false},
		"it has ended, and that is stored":       {jobOf(t, warmUp{}, "j1"), over("j1"), "", 0, true},
		"it has ended, and that is not stored":   {jobOf(t, warmUp{}, "j1"), over("j0"), "", 0, false},
		"one of another release has ended": {func() *batchv1.Job {
			job := jobOf(t, warmUp{}, "j1")
			job.Labels[v1alpha1.ActionLabel] = "polish"
			return job
		}(), over("j0"), "", 0, true},
	} {
		turn := due(t, tt.job)
		turn.Writer = tt.job
		tt.change(turn)
		out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
		if err != nil || out.Started != "" || len(out.Waits) > 0 {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		if got := notes(out.Events); (got == "") != (tt.event == "") || !strings.Contains(got, tt.event) {
			t.Errorf("%s: events %s", name, got)
		}
		if job := writerJob(t, turn.Client); (job == nil) != tt.gone || out.Wake != tt.wake {
			t.Errorf("%s: the Job is gone: %t; wakes in %s, want %s", name, job == nil, out.Wake, tt.wake)
		}
	}
}

// TestRunningFails holds that a read or a deletion that fails while there is a Job is returned.
func TestRunningFails(t *testing.T) {
	job := jobOf(t, warmUp{}, "j1")
	job.Annotations[jobrun.TemplateAnnotation] = "another"
	fails := interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errBroken
		},
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errBroken
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return errBroken },
	}
	failsFor := func(is func(client.ListOptions) bool) interceptor.Funcs {
		return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			of := client.ListOptions{}
			if of.ApplyOptions(options); is(of) {
				return errBroken
			}
			return c.List(ctx, list, options...)
		}}
	}
	bind := func(job *batchv1.Job) {
		podspec.Near(&job.Spec.Template.Spec, podspec.OnNode("a"))
		job.Annotations[jobrun.TemplateAnnotation] = jobOf(t, warmUp{}, "j1").Annotations[jobrun.TemplateAnnotation]
	}
	for name, change := range map[string]func(*turn){
		"its pods":     func(turn *turn) { turn.Live = clusterOf(t, fails) },
		"its deletion": func(turn *turn) { turn.Client = clusterOf(t, fails) },
		"the pods that use the PVC": func(turn *turn) {
			bind(turn.Writer)
			turn.Live = clusterOf(t, failsFor(func(of client.ListOptions) bool { return of.LabelSelector == nil }))
		},
		"its pods, though the template is the same": func(turn *turn) {
			bind(turn.Writer)
			turn.Live = clusterOf(t, failsFor(func(of client.ListOptions) bool { return of.LabelSelector != nil }))
		},
		"what it is to be": func(turn *turn) {
			turn.Writer.Labels[v1alpha1.ActionLabel] = string(plan.Integrity)
			turn.Live = clusterOf(t, fails)
		},
	} {
		turn := due(t, job.DeepCopy())
		turn.Writer, turn.Run = job.DeepCopy(), jobrun.Outcome{Phase: jobrun.Running, Run: "j1"}
		change(turn)
		if out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed); !errors.Is(err, errBroken) || len(out.Events) > 0 {
			t.Errorf("%s: %v, events %s", name, err, notes(out.Events))
		}
	}
}

// TestRecord holds that an outcome is recorded once, when the run has ended.
func TestRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*turn)
		want   bool
	}{
		"it has ended":       {func(*turn) {}, true},
		"it runs":            {func(t *turn) { t.Run.Phase = jobrun.Running }, false},
		"it is recorded":     {func(t *turn) { t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{Run: "c1"} }, false},
		"another recorded":   {func(t *turn) { t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{Run: "c0"} }, true},
		"of another release": {func(t *turn) { t.Writer.Labels[v1alpha1.ActionLabel] = "polish" }, false},
		"there is none":      {func(t *turn) { t.Writer = nil }, false},
	} {
		turn := warmedOnce()
		runs(turn, plan.Cleanup, false)
		turn.Run = ended(1, report.Report{Outcome: report.Failed, Message: "no"}, nil)
		tt.change(turn)
		Reconciler{}.Record(turn.cache, turn.Observed)
		c := ptr.Deref(turn.cache.Status.Cleanup, v1alpha1.CleanupStatus{})
		if got := c.Run == "c1" && c.Failures == 1; got != tt.want {
			t.Errorf("%s: recorded %t: %+v", name, got, c)
		}
	}
}

// TestAuthenticate holds that only the operator's own Job counts, and that another one is
// deleted and reported.
func TestAuthenticate(t *testing.T) {
	broken := clusterOf(t, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}})
	for name, tt := range map[string]struct {
		job     *batchv1.Job
		phase   jobrun.Phase
		change  func(*turn)
		known   string // the uid in the status afterwards
		counts  bool
		deleted bool
		fails   bool
	}{
		"its uid is recorded":        {jobOf(t, warmUp{}, "j1"), jobrun.Running, func(t *turn) { t.cache.Status.WriterJobUID = "j1"; t.Live = broken }, "j1", true, false, false},
		"its outcome is recorded":    {jobOf(t, warmUp{}, "j1"), jobrun.Ended, func(t *turn) { t.cache.Status.WarmUp.Run = "j1"; t.Live = broken }, "", true, false, false},
		"its uid was lost":           {jobOf(t, warmUp{}, "j1"), jobrun.Running, func(*turn) {}, "j1", true, false, false},
		"it has ended, its uid lost": {jobOf(t, warmUp{}, "j1"), jobrun.Ended, func(*turn) {}, "j1", true, false, false},
		"its uid was lost, and a repository has not answered yet": {another(jobOf(t, warmUp{}, "j1")), jobrun.Ended, func(t *turn) { t.SourcePending = true }, "", false, false, false},
		"it is being deleted":                     {jobOf(t, warmUp{}, "j1"), jobrun.Deleting, func(*turn) {}, "", false, false, false},
		"another client's":                        {another(jobOf(t, warmUp{}, "j1")), jobrun.Ended, func(*turn) {}, "", false, true, false},
		"another client's, beside a recorded one": {another(jobOf(t, warmUp{}, "j1")), jobrun.Running, func(t *turn) { t.cache.Status.WriterJobUID = "j0" }, "j0", false, true, false},
		"it cannot be read":                       {jobOf(t, warmUp{}, "j1"), jobrun.Ended, func(t *turn) { t.Live = broken }, "", true, false, true},
		"there is none":                           {nil, jobrun.Absent, func(*turn) {}, "", false, false, false},
	} {
		var objects []client.Object
		if tt.job != nil {
			objects = append(objects, tt.job)
		}
		turn := due(t, objects...)
		turn.Writer, turn.Hindrance, turn.Run = tt.job, "no node", jobrun.Outcome{Phase: tt.phase}
		if tt.job != nil {
			turn.Run.Run = "j1"
		}
		tt.change(turn)
		o, out, err := turn.Authenticate(t.Context(), turn.cache, turn.Observed)
		if errors.Is(err, errBroken) != tt.fails || (err != nil) != tt.fails {
			t.Fatalf("%s: %v", name, err)
		}
		if counts := o.Writer != nil && o.Run.Run == "j1" && o.Run.Phase == tt.phase && o.Hindrance == "no node"; counts != tt.counts {
			t.Errorf("%s: counts %t: %+v", name, counts, o.Run)
		}
		if !tt.counts && tt.job != nil && (o.Writer != nil || o.Run.Phase != jobrun.Deleting || o.Run.Run != "" || o.Hindrance != "") {
			t.Errorf("%s: %+v", name, o)
		}
		if turn.cache.Status.WriterJobUID != tt.known {
			t.Errorf("%s: the uid %q is recorded, want %q", name, turn.cache.Status.WriterJobUID, tt.known)
		}
		if deleted := tt.job != nil && writerJob(t, turn.Client) == nil; deleted != tt.deleted || deleted != strings.Contains(notes(out.Events), "UntrustedJob") || deleted != (out.Wake == time.Second) {
			t.Errorf("%s: deleted %t, events %s, wakes in %s", name, deleted, notes(out.Events), out.Wake)
		}
	}
}

// TestAnswers holds which run answers a request: one that was started for it.
func TestAnswers(t *testing.T) {
	const own, other = "WarmUp r/u", "WarmUp r/v"
	for name, tt := range map[string]struct {
		outcome v1alpha1.RequestOutcome
		started plan.Action
		run     string
		cause   string
		want    bool
	}{
		"started for it":        {v1alpha1.RequestAccepted, "", "j1", own, true},
		"started for another":   {v1alpha1.RequestAccepted, "", "j1", other, false},
		"no run":                {v1alpha1.RequestAccepted, "", "", own, false},
		"started in this pass":  {v1alpha1.RequestAccepted, plan.WarmUp, "", "", true},
		"the request has ended": {v1alpha1.RequestSucceeded, plan.WarmUp, "j1", own, false},
	} {
		turn := warmedOnce()
		accept(turn, v1alpha1.RequestWarmUp)
		turn.cache.Status.Request.Outcome = tt.outcome
		turn.Run = jobrun.Outcome{Run: tt.run, Annotations: map[string]string{v1alpha1.CacheRequestAnnotation: tt.cause}}
		if got := (Result{Started: tt.started}).Answers(turn.cache, turn.Observed); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestAnswerCorrupt holds when a request whose check found the cache corrupt is answered,
// and with what, if the volume is not rolled back by the operator.
func TestAnswerCorrupt(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.GoCache)
		want   string // empty: no answer
	}{
		"reported only":    {func(*v1alpha1.GoCache) {}, "Corrupt: why; there is no verified snapshot to roll back to: delete PersistentVolumeClaim ci to begin again"},
		"with a snapshot":  {func(c *v1alpha1.GoCache) { c.Status.LatestVerifiedSnapshot = "s" }, "Corrupt: why; roll it back with a CacheRequest of action Rollback and argument s, or set spec.integrity.onCorrupt to Rollback"},
		"replaced by hand": {func(c *v1alpha1.GoCache) { c.Status.Storage.VolumeName = "v2" }, "Corrupt: why; the volume was replaced since"},
		"emptied": {func(c *v1alpha1.GoCache) {
			c.Status.Storage.VolumeName = "v2"
			c.Status.Content = &v1alpha1.ContentStatus{}
		}, "Corrupt: why; the volume was replaced since"},
		"intact":            {func(c *v1alpha1.GoCache) { c.Status.Integrity.Verdict = v1alpha1.VerdictIntact }, ""},
		"to be tried again": {func(c *v1alpha1.GoCache) { c.Status.Integrity.InconclusiveAttempts = 2 }, ""},
		"settled":           {func(c *v1alpha1.GoCache) { c.Status.Integrity.InconclusiveAttempts = 3 }, "Corrupt: why; there is no verified snapshot to roll back to: delete PersistentVolumeClaim ci to begin again"},
		"another cause":     {func(c *v1alpha1.GoCache) { c.Status.Integrity.Cause = "scheduled" }, ""},
		"never checked":     {func(c *v1alpha1.GoCache) { c.Status.Integrity = nil }, ""},
		"answered":          {func(c *v1alpha1.GoCache) { c.Status.Request.Outcome = v1alpha1.RequestRefused }, ""},
	} {
		turn := warmedOnce()
		accept(turn, v1alpha1.RequestCheckIntegrity)
		turn.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1", Cause: "CheckIntegrity r/u"}
		turn.cache.Status.Integrity.Verdict, turn.cache.Status.Integrity.Message = v1alpha1.VerdictCorrupt, "why"
		tt.change(turn.cache)
		turn.answerCorrupt()
		if req := turn.cache.Status.Request; req.Message != tt.want || (req.Outcome == v1alpha1.RequestSucceeded) != (tt.want != "") {
			t.Errorf("%s: %+v, want %q", name, req, tt.want)
		}
	}
}

// TestCreatingSnapshot holds while what time no writer is started: from the start of a
// snapshot until the driver has created it.
func TestCreatingSnapshot(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.CacheSnapshot)
		want   bool
	}{
		"being created": {func(*v1alpha1.CacheSnapshot) {}, true},
		"not begun":     {func(c *v1alpha1.CacheSnapshot) { c.Status.StartTime = nil }, false},
		"created":       {func(c *v1alpha1.CacheSnapshot) { c.Status.CreationTime = &metav1.Time{Time: now} }, false},
		"being deleted": {func(c *v1alpha1.CacheSnapshot) { c.DeletionTimestamp = &metav1.Time{Time: now} }, false},
		"stalled": {func(c *v1alpha1.CacheSnapshot) {
			c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue}}
		}, false},
		"suspended": {func(c *v1alpha1.CacheSnapshot) { c.Spec.Suspend = true }, false},
		"suspended, and the driver was asked": {func(c *v1alpha1.CacheSnapshot) {
			c.Spec.Suspend = true
			c.Status.Stages = []v1alpha1.StageStatus{{Name: verification.RecordedSnapshot}}
		}, true},
	} {
		c := &v1alpha1.CacheSnapshot{Status: v1alpha1.CacheSnapshotStatus{StartTime: &metav1.Time{Time: now}}}
		tt.change(c)
		if got := CreatingSnapshot(c); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestCleanupWaitsFor holds what a cleanup waits for that is due.
func TestCleanupWaitsFor(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*turn)
		want   string
	}{
		"nothing":        {func(*turn) {}, ""},
		"never warmed":   {func(t *turn) { t.cache.Status.WarmUp = v1alpha1.WarmUpStatus{} }, "the first warm-up"},
		"warmed in vain": {func(t *turn) { t.cache.Status.WarmUp.LastSuccessRun = "" }, "a warm-up that succeeds"},
		"corrupt": {func(t *turn) {
			t.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1"}
			t.cache.Status.Integrity.Verdict = v1alpha1.VerdictCorrupt
		}, "the cache PVC to be replaced or repaired: it is corrupt"},
		"a snapshot is being created": {func(t *turn) {
			t.Snapshots = []v1alpha1.CacheSnapshot{{ObjectMeta: metav1.ObjectMeta{Name: "s0"}}, {ObjectMeta: metav1.ObjectMeta{Name: "s1"}}}
			t.Snapshots[1].Status.StartTime = &metav1.Time{Time: now}
		}, "CacheSnapshot s1 to be created"},
	} {
		turn := warmedOnce()
		tt.change(turn)
		if got := (cleanUp{}).waitsFor(turn); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestWarmUpWaitsFor holds what a warm-up waits for that is due.
func TestWarmUpWaitsFor(t *testing.T) {
	for name, tt := range map[string]struct {
		of     *turn
		change func(*turn)
		want   string
	}{
		"nothing":                    {fresh(), func(*turn) {}, ""},
		"an invalid schedule":        {fresh(), func(t *turn) { t.Schedules.Invalid = errors.New("spec.warmUp.schedule: no") }, "spec.warmUp.schedule: no"},
		"a schedule invalid since":   {warmedOnce(), func(t *turn) { t.Schedules.Invalid = errors.New("no") }, ""},
		"no proxy":                   {fresh(), func(t *turn) { t.ProxyMissing, t.ProxyUnready = "no such proxy", "no" }, "no such proxy"},
		"a proxy that is not ready":  {fresh(), func(t *turn) { t.ProxyUnready, t.SourceMissing = "it does not serve", "no" }, "it does not serve"},
		"a source that is not there": {fresh(), func(t *turn) { t.SourceMissing = "no ConfigMap" }, "no ConfigMap"},
	} {
		tt.change(tt.of)
		if got := (warmUp{}).waitsFor(tt.of); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestAlmostFull holds when a volume counts as full: by its bytes or by its inodes.
func TestAlmostFull(t *testing.T) {
	for name, tt := range map[string]struct {
		percent      *int32
		inodes, used *int64
		want         bool
	}{
		"not measured":       {nil, nil, nil, false},
		"bytes":              {ptr.To[int32](90), nil, nil, true},
		"almost by bytes":    {ptr.To[int32](89), nil, nil, false},
		"inodes":             {ptr.To[int32](10), ptr.To[int64](100), ptr.To[int64](90), true},
		"one inode":          {nil, ptr.To[int64](1), ptr.To[int64](1), true},
		"almost by inodes":   {ptr.To[int32](10), ptr.To[int64](100), ptr.To[int64](89), false},
		"no limit of inodes": {ptr.To[int32](10), nil, ptr.To[int64](90), false},
	} {
		if got := almostFull(v1alpha1.CacheStorageStatus{UsedPercent: tt.percent, Inodes: tt.inodes, InodesUsed: tt.used}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestBounds holds what a plan is made for: another bound, or another volume, needs
// another plan.
func TestBounds(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*turn){
		"as declared": func(*turn) {}, "another size": func(t *turn) { t.cache.Spec.Cleanup.MaxSize = nil }, "another age": func(t *turn) { t.cache.Spec.Cleanup.MaxAge = nil },
		"another volume": func(t *turn) { t.cache.Status.Storage.VolumeName = "v2" },
	} {
		turn := declared(t)
		change(turn)
		got := turn.bounds()
		if len(got) != 32 || seen[got] != "" {
			t.Errorf("%s: %q, as %s", name, got, seen[got])
		}
		seen[got] = name
	}
	if got := fresh().bounds(); got != "" {
		t.Errorf("without bounds %q", got)
	}
}

// TestCleanupDue holds when a cleanup is due, by what the status has of the last one.
func TestCleanupDue(t *testing.T) {
	open := func(t *turn) {
		t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:1", Open: true, Bounds: t.bounds()}}
	}
	at := func(ago time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-ago)} }
	for name, tt := range map[string]struct {
		change func(*turn)
		cause  string // empty: not due
		last   *metav1.Time
	}{
		"nothing":         {func(*turn) {}, "", nil},
		"not declared":    {func(t *turn) { t.cache.Spec.Cleanup = nil; accept(t, v1alpha1.RequestCleanup) }, "", nil},
		"requested":       {func(t *turn) { accept(t, v1alpha1.RequestCleanup) }, "Cleanup r/u", nil},
		"an open plan":    {open, "the plan sha256:1 was made", nil},
		"a closed plan":   {func(t *turn) { open(t); t.cache.Status.Cleanup.LastPlan.Open = false }, "", nil},
		"approval needed": {func(t *turn) { open(t); t.cache.Spec.Cleanup.Approval = v1alpha1.ApprovalRequired }, "", nil},
		"approved": {func(t *turn) {
			open(t)
			t.cache.Spec.Cleanup.Approval = v1alpha1.ApprovalRequired
			t.Stored = t.cache.DeepCopy()
			t.Stored.Status.Cleanup.ApprovedPlan = "sha256:1"
		}, "the plan sha256:1 was approved", nil},
		"other bounds": {func(t *turn) { open(t); t.cache.Spec.Cleanup.MaxAge = nil }, "the bounds changed since the plan was made", nil},
		"full, and warmed since": {func(t *turn) {
			t.cache.Status.Storage.UsedPercent = ptr.To[int32](95)
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlanTime: at(time.Hour), StartTime: at(time.Hour), CompletionTime: at(time.Hour)}
		}, "the volume is almost full", at(time.Hour)},
		"full, and not warmed since": {func(t *turn) {
			t.cache.Status.Storage.UsedPercent = ptr.To[int32](95)
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlanTime: at(time.Minute), StartTime: at(time.Minute), CompletionTime: at(time.Second)}
		}, "", at(time.Minute)},
		"paused, and warmed since": {func(t *turn) {
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{Paused: "reuse", StartTime: at(time.Hour), CompletionTime: at(time.Hour)}
		}, "a warm-up ran since a check had paused the cleanup", at(time.Hour)},
		"failed a while ago": {func(t *turn) {
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{Failures: 1, CompletionTime: at(time.Minute)}
		}, "the last run could not be done", nil},
		"failed just now": {func(t *turn) {
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{Failures: 1, CompletionTime: at(59 * time.Second)}
		}, "", nil},
	} {
		turn := declared(t)
		tt.change(turn)
		got, due := cleanUp{}.due(turn)
		if due != (tt.cause != "") || got.Cause != tt.cause || !got.LastStart.Equal(timeOf(tt.last)) {
			t.Errorf("%s: %t, %+v", name, due, got)
		}
		if want := map[bool]time.Duration{true: time.Second}[name == "failed just now"]; turn.out.Wake != want {
			t.Errorf("%s: wakes in %s, want %s", name, turn.out.Wake, want)
		}
	}
}

// TestWarmUpWakes holds when a pass looks again for what no watch reports.
func TestWarmUpWakes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*turn)
		want   time.Duration
	}{
		"sources":                        {func(*turn) {}, pass.Interval},
		"no sources":                     {func(t *turn) { t.cache.Spec.WarmUp.Sources = nil }, 0},
		"no warm-up":                     {func(t *turn) { t.cache.Spec.WarmUp = nil }, 0},
		"a Secret that may not be used":  {func(t *turn) { t.SecretRefused = "no" }, 15 * time.Second},
		"a Secret that is not there yet": {func(t *turn) { t.WaitsForSecret = true }, 15 * time.Second},
		"a retry":                        {func(t *turn) { t.cache.Status.WarmUp.Failures, t.cache.Spec.WarmUp.Sources = 4, nil }, 2 * time.Minute},
	} {
		turn := declared(t)
		turn.cache.Status.WarmUp.Inputs = turn.inputs()
		tt.change(turn)
		due, is := warmUp{}.due(turn)
		if is || turn.out.Wake != tt.want {
			t.Errorf("%s: due %t (%s), wakes in %s, want %s", name, is, due.Cause, turn.out.Wake, tt.want)
		}
	}
	turn := declared(t)
	if due, is := (warmUp{}).due(turn); !is || due.Cause != "its sources or its toolchain changed" || !due.LastStart.Equal(turn.cache.Status.WarmUp.StartTime.Time) {
		t.Errorf("due %t: %+v", is, due)
	}
}

// TestCheckDue holds when a check is due, and whether it goes before other work.
func TestCheckDue(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*turn)
		cause  string
		urgent bool
		last   time.Duration // of the last such check, before now; 0: none
	}{
		"nothing":        {func(*turn) {}, "", false, time.Hour},
		"requested":      {func(t *turn) { accept(t, v1alpha1.RequestCheckIntegrity) }, "CheckIntegrity r/u", false, time.Hour},
		"a failed build": {func(t *turn) { accept(t, v1alpha1.RequestReportFailure) }, "ReportFailure r/u", true, 0},
		"a second one": {func(t *turn) {
			accept(t, v1alpha1.RequestReportFailure)
			t.cache.Status.Integrity.Cause = "ReportFailure q/v"
		}, "ReportFailure r/u", true, time.Hour},
		"a request, urgent before": {func(t *turn) {
			accept(t, v1alpha1.RequestCheckIntegrity)
			t.cache.Status.Integrity.Cause = "ReportFailure q/v"
		}, "CheckIntegrity r/u", false, 0},
		"the last has no end": {func(t *turn) {
			accept(t, v1alpha1.RequestCheckIntegrity)
			t.cache.Status.Integrity.CompletionTime = nil
		}, "CheckIntegrity r/u", false, 0},
		"the last has no start": {func(t *turn) { accept(t, v1alpha1.RequestCheckIntegrity); t.cache.Status.Integrity.StartTime = nil }, "CheckIntegrity r/u", false, 0},
		"a Corrupt snapshot": {func(t *turn) {
			s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
			s.Status.Source, s.Status.CreationTime = &v1alpha1.SourceRecord{VolumeName: "v1"}, &metav1.Time{Time: now}
			s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
			t.Snapshots = []v1alpha1.CacheSnapshot{s}
		}, "CacheSnapshot s is Corrupt", true, 0},
	} {
		turn := declared(t)
		turn.cache.Status.Integrity = &v1alpha1.IntegrityStatus{VolumeName: "v1", Cause: "scheduled for then", StartTime: &metav1.Time{Time: now.Add(-time.Hour)}}
		turn.cache.Status.Integrity.CompletionTime = &metav1.Time{Time: now.Add(-time.Minute)}
		tt.change(turn)
		got, due := integrityCheck{}.due(turn)
		if due != (tt.cause != "") || got.Cause != tt.cause || got.Urgent != tt.urgent {
			t.Errorf("%s: %t, %+v", name, due, got)
		}
		if tt.last == 0 && !got.LastStart.IsZero() || tt.last != 0 && !got.LastStart.Equal(now.Add(-tt.last)) {
			t.Errorf("%s: the last began at %s", name, got.LastStart)
		}
	}
	if got := (integrityCheck{}).waitsFor(fresh()); got != "the first warm-up" {
		t.Errorf("a check waits for %q", got)
	}
	if got := (integrityCheck{}).waitsFor(warmedOnce()); got != "" {
		t.Errorf("a check waits for %q", got)
	}
}

// TestNotifyWakes holds when a pass looks again for a webhook that failed.
func TestNotifyWakes(t *testing.T) {
	turn := planned()
	turn.Webhooks = &calls{done: true, err: errBroken}
	if err := turn.notifyPlan(); err != nil || turn.out.Wake != time.Minute {
		t.Errorf("after a failure: %v, %s", err, turn.out.Wake)
	}
	turn.out.Wake, turn.Now = 0, turn.Now.Add(20*time.Second)
	if err := turn.notifyPlan(); err != nil || turn.out.Wake != 40*time.Second {
		t.Errorf("a while later: %v, %s", err, turn.out.Wake)
	}
	turn.Now = turn.Now.Add(time.Hour)
	turn.Webhooks = &calls{done: true}
	if err := turn.notifyPlan(); err != nil || turn.cache.Status.Cleanup.Webhook.Message != "" || !turn.cache.Status.Cleanup.Webhook.DeliveredTime.Time.Equal(turn.Now) {
		t.Errorf("delivered: %v, %+v", err, turn.cache.Status.Cleanup.Webhook)
	}
}

// TestApprovalOfRun holds that a request is not refused that a run answers, and that the
// reasons are the same for the API.
func TestApprovalOfRun(t *testing.T) {
	w := approving("sha256:2", func(t *turn) { t.out.Started = plan.Cleanup })
	w.approve()
	if got := w.cache.Status.Request.Outcome; got != v1alpha1.RequestAccepted {
		t.Errorf("a run of this pass may answer it: %s", got)
	}
	w = approving("sha256:1", func(t *turn) { t.cache.Status.Cleanup.ApprovedPlan = "sha256:1" })
	w.approve()
	if got := w.cache.Status.Request.Outcome; got != v1alpha1.RequestAccepted {
		t.Errorf("it was approved before: %s", got)
	}
	w = approving("sha256:2", func(*turn) {})
	req, _ := pass.Requested(w.cache, v1alpha1.RequestApproveCleanup)
	if got := RefusesApproval(w.cache, w.Observed, req); !strings.Contains(got, "the plan that waits is sha256:1") {
		t.Errorf("refused: %q", got)
	}
	if got := RefusesCleanup(w.cache) + "|" + RefusesCleanup(&v1alpha1.GoCache{}); got != "|spec.cleanup sets no bounds" {
		t.Errorf("refused: %q", got)
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded, whatever
// the writer does: nothing is started, replaced or removed then.
func TestEachFailure(t *testing.T) {
	sums := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "a"}}
	outdated := jobOf(t, warmUp{}, "j1")
	outdated.Annotations[jobrun.TemplateAnnotation] = "another"
	for name, tt := range map[string]struct {
		job    *batchv1.Job
		change func(*turn)
		calls  []string // some of them
	}{
		"a warm-up is due": {nil, func(*turn) {}, []string{"create *unstructured.Unstructured", "get *v1.Job", "list *v1alpha1.CacheSnapshotList", "list *v1.PodList"}},
		"a check is due": {nil, func(turn *turn) {
			turn.cache.Status.WarmUp = warmedOnce().cache.Status.WarmUp
			turn.Stored = turn.cache.DeepCopy()
			accept(turn, v1alpha1.RequestReportFailure)
		}, []string{"create *unstructured.Unstructured", "get *v1.ConfigMap"}},
		"it has not run, and is outdated": {outdated, func(t *turn) { t.Run = jobrun.Outcome{Phase: jobrun.Running, Run: "j1"} }, []string{"delete *v1.Job"}},
		"it has ended": {outdated, func(t *turn) {
			t.Run = jobrun.Outcome{Phase: jobrun.Ended, Run: "j1"}
			t.Stored.Status.WarmUp.Run = "j1"
		}, []string{"delete *v1.Job"}},
	} {
		objects := []client.Object{sums}
		if tt.job != nil {
			objects = append(objects, tt.job.DeepCopy())
		}
		fresh := func() client.WithWatch { return clusterOf(t, interceptor.Funcs{}, objects...).(client.WithWatch) }
		calls := failing.Each(t, fresh, func(c client.Client) error {
			turn := due(t)
			turn.Client, turn.Live = c, c
			if tt.job != nil {
				turn.Writer = tt.job.DeepCopy()
			}
			tt.change(turn)
			out, err := turn.Reconcile(t.Context(), turn.cache, turn.Observed)
			if err != nil && (out.Started != "" || len(out.Events) > 0) {
				t.Errorf("%s: %v, and started %q, events %s", name, err, out.Started, notes(out.Events))
			}
			return err
		})
		for _, want := range tt.calls {
			if !slices.Contains(calls, want) {
				t.Errorf("%s: no call %q in %v", name, want, calls)
			}
		}
	}
}
