package modproxy

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/plan/failover"
)

var errUnreadable = errors.New("the API server is overloaded")

// unreadable is a client for which the reads of some objects fail.
type unreadable struct {
	client.Client
	get  func(name string, o client.Object) bool
	list func(client.ObjectList) bool
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
