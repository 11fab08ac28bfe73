package gocache

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/writer"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/gitrefs"
	"gocache.dev/operator/internal/kube/images"
	plan "gocache.dev/operator/internal/plan/writer"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/faults"
	"gocache.dev/operator/internal/testing/requests"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}

// world is a namespace with the GoCache ci, its reconciler, and the test in the
// part of the rest of the cluster and of the controller of CacheSnapshots.
type world struct {
	t          *testing.T
	namespace  string
	now        time.Time
	cluster    *cluster.Cluster
	requests   *requests.Requests
	reconciler *Reconciler
	mortal     *faults.Mortal // counts the writes, and may die
	events     *events.FakeRecorder
	last       ctrl.Result

	// ending of each warm-up, and of each check; nil: it goes on.
	ending, checked *cluster.Ending
	// renewed is the ending of each check of a new volume; nil: it goes on.
	renewed *cluster.Ending
	// pooled is the ending of each check of a volume of the pool; nil: it goes on.
	pooled *cluster.Ending
	// corrupt gives each snapshot the verdict Corrupt; slow leaves it without a
	// verdict, and pendingCSI without a CSI snapshot.
	corrupt, slow, pendingCSI bool
	// onDeath is what happens while the manager is down.
	onDeath func()
	// volumes that were seen, and what each was made from.
	volumes map[string]string
	// byHand: a person deletes volumes.
	byHand bool
	// removes reports that a person removes an object of a name; may be nil.
	removes func(name string)
	// cleaner plays the agent that cleans.
	cleaner cleaner
	// listener receives the calls of webhooks from all processes.
	listener listener
	// warmUps, checks and cleanups count the Jobs that were seen.
	warmUps, checks, cleanups map[types.UID]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, namespace: server.Namespace(t), warmUps: map[types.UID]bool{}, checks: map[types.UID]bool{}, cleanups: map[types.UID]bool{},
		now:    time.Now().Truncate(time.Second).Add(123456789), // what is stored has whole seconds only
		events: events.NewFakeRecorder(1000), ending: ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7}),
		checked: intact,
		renewed: intactWith(contentDigest), pooled: intactWith(contentDigest),
	}
	w.cluster = &cluster.Cluster{
		Client: server.Client, Namespace: w.namespace, Now: func() time.Time { return w.now },
		Job: func(job *batchv1.Job) *cluster.Ending {
			if job.Name == "ci-next" {
				return w.renewed
			}
			if job.Labels[v1alpha1.PoolLabel] != "" {
				return w.pooled
			}
			switch plan.Action(job.Labels[v1alpha1.ActionLabel]) {
			case plan.Integrity:
				return w.checked
			case plan.Cleanup:
				return w.cleaner.end(job)
			case plan.WarmUp:
			}
			return w.ending
		},
	}
	w.requests = &requests.Requests{
		Client: server.Client, Namespace: w.namespace, Now: func() time.Time { return w.now },
		Target: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"},
	}
	w.restart(faults.Point{})
	return w
}

// ended is the ending of an agent that reports.
func ended(r warmreport.Report) *cluster.Ending {
	r.GoVersion = "go1.26.8 linux/amd64"
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	e := &cluster.Ending{Message: string(text)}
	if r.Outcome != warmreport.Succeeded {
		e.Exit = 1
	}
	return e
}

// restart begins a process that remembers nothing and dies at a point.
func (w *world) restart(point faults.Point) {
	w.mortal = &faults.Mortal{Point: point}
	c := w.mortal.Client(server.Client)
	w.reconciler = &Reconciler{
		Client: c, Live: c, Events: w.events, Clock: func() time.Time { return w.now },
		Images: images.Images{Operator: "operator:test", Toolchain: "go:{version}", HAProxy: "haproxy:test"}, Webhooks: &w.listener,
		Refs: gitrefs.New(gitrefs.Options{Go: func(lookup func()) { lookup() }}), // so that a pass has the answer
	}
}

// cache makes the GoCache ci.
func (w *world) cache(change ...func(*v1alpha1.GoCacheSpec)) {
	w.t.Helper()
	c := &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"},
		Spec:       v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}},
	}
	c.Spec.Storage.Size = resource.MustParse("1Gi")
	for _, f := range change {
		f(&c.Spec)
	}
	w.must(server.Client.Create(w.t.Context(), c))
	if made := c.CreationTimestamp; made.After(w.now) { // by the clock of the API server, on a busy machine
		w.now = made.Add(123456789)
	}
}

func afterWarmUp(s *v1alpha1.GoCacheSpec) {
	s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true)}
}

func fromModules(s *v1alpha1.GoCacheSpec) {
	s.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{ConfigMapRef: &v1alpha1.LocalReference{Name: "modules"}}}}
}

// modules is the ConfigMap that fromModules names, with some content.
func (w *world) modules(content string) {
	w.t.Helper()
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "modules"},
		Data:       map[string]string{"go.mod": "module m // " + content, "go.sum": ""},
	}
	err := server.Client.Create(w.t.Context(), cm)
	if apierrors.IsAlreadyExists(err) {
		err = server.Client.Update(w.t.Context(), cm)
	}
	w.must(err)
}

func (w *world) get() *v1alpha1.GoCache {
	w.t.Helper()
	return get[v1alpha1.GoCache](w, "ci")
}

// edit changes the GoCache as its user does.
func (w *world) edit(change func(*v1alpha1.GoCache)) {
	w.t.Helper()
	c := w.get()
	change(c)
	w.must(server.Client.Update(w.t.Context(), c))
}

// request creates a CacheRequest for the GoCache.
func (w *world) request(name string, action v1alpha1.RequestAction, argument ...string) {
	w.t.Helper()
	w.requests.Create(w.t, name, action, argument...)
}

// answered checks the outcome of a request.
func (w *world) answered(name string, outcome v1alpha1.RequestOutcome, message string) {
	w.t.Helper()
	w.requests.Answered(w.t, name, outcome, message)
}

// step lets the rest of the cluster act once.
func (w *world) step() (acted bool) {
	w.t.Helper()
	acted, err := w.cluster.Step(w.t.Context())
	w.must(err)
	followed, err := w.requests.Step(w.t.Context())
	w.must(err)
	return acted || followed
}

// get reads an object that must exist.
func get[T any, P interface {
	*T
	client.Object
}](w *world, name string) P {
	w.t.Helper()
	o := P(new(T))
	if err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, o); err != nil {
		w.t.Fatalf("read %T %s: %v", o, name, err)
	}
	return o
}

func exists[T any, P interface {
	*T
	client.Object
}](w *world, name string) bool {
	w.t.Helper()
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, P(new(T)))
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil
}

// foreignJob is a Job that a user created and that has succeeded.
func (w *world) foreignJob(name string) *batchv1.Job {
	w.t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "i"}}}
	w.must(server.Client.Create(w.t.Context(), job))
	_, err := w.cluster.Step(w.t.Context())
	w.must(err)
	return job
}

// settle lets reconciler and cluster act by turns until neither has anything
// to do. A process that was killed is followed by a fresh one. Time moves on
// only while the reconciler waits for a second at most.
func (w *world) settle() {
	w.t.Helper()
	for range 80 {
		wrote := len(w.mortal.Writes)
		err := w.pass()
		died := errors.Is(err, faults.ErrDead)
		if !died {
			w.must(err)
		}
		acted := w.step()
		proved := w.prove()
		w.invariants()
		switch {
		case died:
			w.restart(faults.Point{})
			if w.onDeath != nil {
				w.onDeath()
			}
		case acted || proved || len(w.mortal.Writes) > wrote:
		case w.last.RequeueAfter > 0 && w.last.RequeueAfter <= time.Second && !w.cluster.HoldPods:
			w.now = w.now.Add(w.last.RequeueAfter)
		default:
			return
		}
	}
	w.t.Fatalf("no end after the writes %q: %+v", w.mortal.Writes, w.get().Status)
}

func (w *world) pass() (err error) {
	w.last, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: "ci"}})
	return err
}

// end lets the rest of the cluster finish what a deletion began.
func (w *world) end() {
	w.t.Helper()
	for range 40 {
		wrote := len(w.mortal.Writes)
		err := w.pass()
		died := errors.Is(err, faults.ErrDead)
		if died {
			w.restart(faults.Point{})
		} else {
			w.must(err)
		}
		acted := w.step()
		if !died && !acted && len(w.mortal.Writes) == wrote {
			return
		}
	}
	w.t.Fatal("the deletion comes to no end")
}

func inNamespace(w *world) []client.ListOption {
	return []client.ListOption{client.InNamespace(w.namespace)}
}

// wait lets time pass.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	w.settle()
}

// prove plays the controller of CacheSnapshots, a stage at a time.
func (w *world) prove() (acted bool) {
	w.t.Helper()
	for _, s := range w.snapshots() {
		now := ptr.To(metav1.NewTime(w.now))
		set := func(kind string, status metav1.ConditionStatus, reason string) {
			meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: *now})
		}
		switch {
		case s.Status.StartTime == nil:
			s.Status.StartTime = now
			s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci", VolumeName: get[corev1.PersistentVolumeClaim](w, "ci").Spec.VolumeName}
		case s.Status.CreationTime == nil && !w.pendingCSI:
			s.Status.CreationTime = now
			w.createCSISnapshot(&s)
		case s.Status.CreationTime == nil || w.slow || len(s.Status.Conditions) > 0:
			continue
		case w.corrupt:
			s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
			set(v1alpha1.VerifiedCondition, metav1.ConditionFalse, v1alpha1.ReasonCorrupt)
			set(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCorrupt)
		default:
			s.Status.Verification.Verdict = v1alpha1.VerdictIntact
			set(v1alpha1.VerifiedCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact)
		}
		acted = true
		w.must(server.Client.Status().Update(w.t.Context(), &s))
	}
	return acted
}

func (w *world) snapshots() []v1alpha1.CacheSnapshot {
	w.t.Helper()
	var list v1alpha1.CacheSnapshotList
	w.must(server.Client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	return slices.DeleteFunc(list.Items, func(s v1alpha1.CacheSnapshot) bool { return !s.DeletionTimestamp.IsZero() })
}

func (w *world) names() []string {
	var names []string
	for _, s := range w.snapshots() {
		names = append(names, s.Name)
	}
	return names
}

// invariants hold after each step, whatever happens.
func (w *world) invariants() {
	w.t.Helper()
	var pods corev1.PodList
	w.must(server.Client.List(w.t.Context(), &pods, client.InNamespace(w.namespace)))
	w.volumesAreSafe()
	writers, running := 0, 0
	for _, p := range pods.Items {
		if slices.ContainsFunc(p.Spec.Volumes, writable) {
			writers++
			run := map[plan.Action]map[types.UID]bool{
				plan.WarmUp: w.warmUps, plan.Integrity: w.checks, plan.Cleanup: w.cleanups,
			}[plan.Action(p.Labels[v1alpha1.ActionLabel])]
			run[p.OwnerReferences[0].UID] = true
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				running++
			}
		}
	}
	if writers > 1 {
		w.t.Fatalf("%d pods that write to the PVC exist at once", writers)
	}
	for _, s := range w.snapshots() {
		if running > 0 && writer.CreatingSnapshot(&s) {
			w.t.Fatalf("a writer runs while %s is being cut", s.Name)
		}
	}
}

// writable reports whether a volume of a pod is the cache PVC and is not mounted
// read-only.
func writable(v corev1.Volume) bool {
	c := v.PersistentVolumeClaim
	return c != nil && c.ClaimName == "ci" && !c.ReadOnly
}

// newEvents returns the events since its last call, one per line.
func (w *world) newEvents() string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return strings.Join(all, "\n")
		}
	}
}

// condition is checked for status, reason and a part of its message; no status
// means that it must be absent.
func (w *world) condition(kind string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.get().Status.Conditions, kind)
	switch {
	case c == nil && status == "":
	case c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message):
		w.t.Errorf("condition %s is %+v, want %s, %s, %q", kind, c, status, reason, message)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
