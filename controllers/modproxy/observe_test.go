package modproxy

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/router/certificate"
)

var errUnreadable = errors.New("the API server is overloaded")

// unreadable is a client for which the reads, or the creation, of some objects fail.
type unreadable struct {
	client.Client
	get    func(name string, o client.Object) bool
	list   func(client.ObjectList) bool
	create func(client.Object) bool
}

func (u unreadable) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if u.create != nil && u.create(o) {
		return errUnreadable
	}
	return u.Client.Create(ctx, o, opts...)
}

func (u unreadable) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if u.get != nil && u.get(key.Name, o) {
		return errUnreadable
	}
	return u.Client.Get(ctx, key, o, opts...)
}

func (u unreadable) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if u.list != nil && u.list(list) {
		return errUnreadable
	}
	return u.Client.List(ctx, list, opts...)
}

// passWith makes one pass with a client that cannot read everything.
func (w *world) passWith(u unreadable) {
	w.t.Helper()
	r := w.reconciler
	c, live := r.Client, r.Live
	u.Client = c
	r.Client, r.Live = u, u
	if err := w.pass(); !errors.Is(err, errUnreadable) {
		w.t.Errorf("a pass that cannot read all ends with %v", err)
	}
	r.Client, r.Live = c, live
}

// TestUnreadableIsNotAbsent holds that nothing is decided from an object that
// could not be read: no client is moved, and no outcome of a probe is dropped.
func TestUnreadableIsNotAbsent(t *testing.T) {
	t.Parallel()
	for name, get := range map[string]func(string, client.Object) bool{
		"Service of an instance": func(name string, o client.Object) bool {
			_, service := o.(*corev1.Service)
			return service && name == "goproxy-green"
		},
		"token of the agents": func(name string, o client.Object) bool {
			_, secret := o.(*corev1.Secret)
			return secret && name == "goproxy-agent"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serving()
			w.passWith(unreadable{get: get})
			if state := w.published("green"); state != "ready" {
				t.Errorf("the router has green as %s", state)
			}
			if streak := w.reconciler.prober.Observe(w.key()).Instances["green"].Streaks[failover.Ready]; streak.Count == 0 {
				t.Error("the outcomes of green's probes were dropped")
			}
			w.settle()
			w.weights(100, 100)
			if recorded := w.recorded(); strings.Contains(recorded, "WeightsChanged") {
				t.Errorf("events: %s", recorded)
			}
		})
	}
}

// TestUnreadableSnapshots holds that a store is not rolled back to an empty one
// because its snapshots could not be listed.
func TestUnreadableSnapshots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.guarded()
	w.request("snapshot-1", v1alpha1.RequestSnapshot)
	w.verified()
	w.tick(1)
	w.poison()
	w.now = w.now.Add(interval)
	w.probe()
	w.passWith(unreadable{list: func(list client.ObjectList) bool {
		_, snapshots := list.(*v1alpha1.CacheSnapshotList)
		return snapshots
	}})
	w.settle()
	if rb := pass.Instance(w.get(), "blue").Rollback; rb == nil || rb.Snapshot == "" {
		t.Errorf("blue has a verified snapshot, and its rollback is %+v", rb)
	}
}

// TestSnapshotRequest holds that an error is no answer to a request for snapshots, and that a
// suspended proxy refuses it.
func TestSnapshotRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.guarded()
	w.requests.Create(t, "snapshot-1", v1alpha1.RequestSnapshot)
	w.passWith(unreadable{create: func(o client.Object) bool { return o.GetObjectKind().GroupVersionKind().Kind == "CacheSnapshot" }})
	if r := w.get().Status.Request; r == nil || r.Outcome != v1alpha1.RequestAccepted || r.Message == "" {
		t.Errorf("the request is %+v after an error", r)
	}
	w.settle()
	w.answered("snapshot-1", v1alpha1.RequestSucceeded, "created CacheSnapshots")
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Suspend = true })
	w.request("snapshot-2", v1alpha1.RequestSnapshot)
	w.answered("snapshot-2", v1alpha1.RequestRefused, "spec.suspend is set")
}

// TestFailoverWithoutReports holds that what is read for messages alone, and cannot
// be read, keeps no client on an instance that is down.
func TestFailoverWithoutReports(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail func(*world)
		// kind and the rest are the condition that reports it.
		kind            string
		status          metav1.ConditionStatus
		reason, message string
	}{
		"certificates of the router": {
			func(w *world) { w.unasked = errUnreadable },
			v1alpha1.CertificateReadyCondition, metav1.ConditionUnknown, v1alpha1.ReasonError,
			"It is not known which certificate the router serves; it is tried again: " + errUnreadable.Error(),
		},
		"pod of an instance": {
			func(w *world) {
				u := unreadable{Client: w.reconciler.Client, get: func(_ string, o client.Object) bool {
					_, pod := o.(*corev1.Pod)
					return pod
				}}
				w.reconciler.Client, w.reconciler.Live = u, u
			},
			v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy,
			"it could not be read why pods do not run: read *v1.Pod goproxy-blue-0: " + errUnreadable.Error(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.certificates = []route.Certificate{{Replica: "router-0", Report: certificate.Report{Fingerprint: "AB"}}}
			w.serving(func(s *v1alpha1.ModProxySpec) {
				s.Router.TLS = &v1alpha1.RouterTLS{SecretRef: v1alpha1.LocalReference{Name: "goproxy-tls"}}
			})
			tt.fail(w)
			w.blue.down = true
			w.tick(3)
			w.weights(0, 100)
			w.condition(tt.kind, tt.status, tt.reason, tt.message)
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves")
			if after := w.last.RequeueAfter; after > refusedInterval {
				t.Errorf("the next pass is after %s", after)
			}
		})
	}
}
