package crash

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	clientcache "k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	kubevolume "gocache.dev/operator/internal/kube/volume"
)

// Journal holds every revision of every object that an invariant is about.
// Revisions of one API server are numbered in one row, whatever their kind: so
// the events of several watches come into the order in which it happened.
type Journal struct {
	server client.WithWatch

	mu      sync.Mutex
	changes map[string][]change // by namespace
	lost    error               // why it is incomplete
	homes   map[string]string   // the namespace of a volume's PVC
	moved   []string            // volumes that went from one namespace to another
	secured map[string]string   // the owners that volumes were secured for, and where
}

// change is one object's next revision.
type change struct {
	revision uint64
	key      string
	object   client.Object
	gone     bool
}

// kinds that are watched.
func kinds() []client.ObjectList {
	return []client.ObjectList{
		&corev1.PodList{}, &batchv1.JobList{}, &corev1.PersistentVolumeClaimList{}, &corev1.PersistentVolumeList{}, &corev1.ConfigMapList{},
		&v1alpha1.GoCacheList{}, &v1alpha1.CacheSnapshotList{}, &v1alpha1.ModProxyList{},
	}
}

// Watch begins a journal, which is kept until the test ends.
func Watch(t *testing.T, server client.WithWatch) *Journal {
	t.Helper()
	j := &Journal{server: server, changes: map[string][]change{}, homes: map[string]string{}, secured: map[string]string{}}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { // after the last parallel test
		stop()
		all.Wait()
	})
	for _, list := range kinds() {
		if err := server.List(ctx, list); err != nil {
			t.Fatalf("journal: list %T: %v", list, err)
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error { // what is there already
			j.note(apiwatch.Event{Type: apiwatch.Added, Object: o})
			return nil
		}); err != nil {
			t.Fatalf("journal: %v", err)
		}
		// The API server ends each watch after half an hour and more; this goes on after it.
		events, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), &clientcache.ListWatch{
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
				return server.Watch(ctx, list, &client.ListOptions{Raw: &o})
			},
		})
		if err != nil {
			t.Fatalf("journal: watch %T: %v", list, err)
		}
		all.Add(1)
		go func() {
			defer all.Done()
			defer events.Stop()
			for e := range events.ResultChan() {
				j.note(e)
			}
			if ctx.Err() == nil {
				j.fail(fmt.Errorf("the watch of %T ended early", list))
			}
		}()
	}
	return j
}

func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost = cmp.Or(j.lost, err)
}

// note adds an event of a watch.
func (j *Journal) note(e apiwatch.Event) {
	o, ok := e.Object.(client.Object)
	if !ok || e.Type == apiwatch.Error {
		j.fail(fmt.Errorf("a watch reports %s: %v", e.Type, e.Object))
		return
	}
	revision, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		j.fail(fmt.Errorf("revision of %T %s: %w", o, o.GetName(), err))
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	ns := j.home(o)
	j.changes[ns] = append(j.changes[ns], change{revision: revision, key: keyOf(o), object: o, gone: e.Type == apiwatch.Deleted})
}

// home is the namespace whose history an object belongs to: for a volume, that
// of the PVC it was made for, even when it is no longer meant for any.
func (j *Journal) home(o client.Object) string {
	pv, ok := o.(*corev1.PersistentVolume)
	if !ok {
		return o.GetNamespace()
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		if before := j.homes[pv.Name]; before != "" && before != ref.Namespace {
			j.moved = append(j.moved, fmt.Sprintf("volume %s went from namespace %s to %s", pv.Name, before, ref.Namespace))
		}
		j.homes[pv.Name] = ref.Namespace
	}
	if owner := pv.Annotations[kubevolume.OwnerAnnotation]; owner != "" {
		j.secured[owner+" "+pv.Name] = j.homes[pv.Name]
	}
	return j.homes[pv.Name]
}

// strangers holds that no volume outside a namespace's own was ever written to:
// none went from one namespace to another, and none was secured for an object of
// another namespace.
func (j *Journal) strangers() (broken []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	broken = slices.Clone(j.moved)
	for key, home := range j.secured {
		owner, name, _ := strings.Cut(key, " ")
		if !slices.ContainsFunc(j.changes[home], func(c change) bool { return string(c.object.GetUID()) == owner }) {
			broken = append(broken, fmt.Sprintf("volume %s of namespace %s was secured for %s, which is no object of that namespace", name, home, owner))
		}
	}
	return broken
}

// keyOf is what an object is known by, whichever version of it is at hand.
func keyOf(o client.Object) string { return fmt.Sprintf("%T %s %s", o, o.GetName(), o.GetUID()) }

// Check holds the invariants against all that happened in a namespace up to now.
func (j *Journal) Check(t *testing.T, namespace string) {
	t.Helper()
	j.check(t, namespace, nil)
}

func (j *Journal) check(t *testing.T, namespace string, byHand map[string]bool) {
	t.Helper()
	for _, broken := range append(hold(j.history(t, namespace), byHand), j.strangers()...) {
		t.Errorf("an invariant was broken: %s", broken)
	}
}

// listAgain is after how long the API server is asked once more for what it holds, which
// a process may have changed in between.
const listAgain = time.Second

// history is all that happened in a namespace, in order, up to now.
func (j *Journal) history(t *testing.T, namespace string) []change {
	t.Helper()
	want, listed := j.present(t, namespace), time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		j.mu.Lock()
		all, lost := slices.Clone(j.changes[namespace]), j.lost
		j.mu.Unlock()
		if lost != nil {
			t.Fatalf("journal: %v", lost)
		}
		slices.SortStableFunc(all, func(a, b change) int { return cmp.Compare(a.revision, b.revision) })
		if maps.Equal(want, latest(all)) {
			return all
		}
		if time.Since(listed) > listAgain {
			want, listed = j.present(t, namespace), time.Now()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("journal: the watches differ from what the API server holds in %s\nwatched %v\nstored %v", namespace, latest(all), want)
		}
	}
}

// latest is which revision of which object exists after all of the changes.
func latest(all []change) map[string]string {
	now := map[string]string{}
	for _, c := range all {
		if now[c.key] = c.object.GetResourceVersion(); c.gone {
			delete(now, c.key)
		}
	}
	return now
}

// present is the same as the API server returns it.
func (j *Journal) present(t *testing.T, namespace string) map[string]string {
	t.Helper()
	now := map[string]string{}
	for _, list := range kinds() {
		opts := []client.ListOption{client.InNamespace(namespace)}
		if _, ok := list.(*corev1.PersistentVolumeList); ok {
			opts = nil
		}
		if err := j.server.List(t.Context(), list, opts...); err != nil {
			t.Fatalf("journal: list %T: %v", list, err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.home(o) == namespace {
				now[keyOf(o)] = o.GetResourceVersion()
			}
			return nil
		})
		if err != nil {
			t.Fatalf("journal: %v", err)
		}
	}
	return now
}
