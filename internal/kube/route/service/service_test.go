package service_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/kube/route/service"
)

// TestConformance runs against a stand-in for what a cluster does with a
// Service: see node.
func TestConformance(t *testing.T) {
	routetest.Run(t, func(t *testing.T, instances []routetest.Instance) routetest.Backend {
		n := newNode(t, instances)
		return routetest.Backend{
			Router: n.router(), URL: "http://" + n.listen(t), Settle: 5 * time.Second, Followed: func() bool { return n.followed(t.Context()) },
			Restart: func(*testing.T) { n.restart() },
		}
	})
}

// TestObjects examines what is made.
func TestObjects(t *testing.T) {
	routetest.RunObjects(t, func(_ *testing.T, c client.Client, owner client.Object) routetest.Objects {
		url := "http://goproxy-router.ns.svc"
		return routetest.Objects{Address: route.Address{URL: url, GOPROXY: url + "|" + url + "|" + url}, Router: &service.Router{
			Applier: apply.Applier{Client: c, Live: c, FieldOwner: "test"}, Owner: owner, Name: "goproxy-router", TargetPort: "http",
			Pods: direct.Pods{Client: c, Reader: c, Namespace: routetest.Namespace, Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
		}}
	})
}

// TestEndsQuarantinedPodsOnly: the pod that takes the place of one
// that was ended is left alone, however often the intent is repeated, and a
// caller that dies between its writes ends it later.
func TestEndsQuarantinedPodsOnly(t *testing.T) {
	n := newNode(t, []routetest.Instance{{Name: "blue"}, {Name: "green"}})
	r := n.router()
	set := func(blue, green route.Server) {
		t.Helper()
		blue.Name, green.Name = "blue", "green"
		if err := r.Set(t.Context(), []route.Server{blue, green}); err != nil {
			t.Fatal(err)
		}
	}
	ready, drain, down := route.Server{State: route.Ready, Weight: 1}, route.Server{State: route.Drain}, route.Server{State: route.Down}
	first := n.uid("blue")
	set(ready, drain)
	set(drain, ready) // clients that keep their connection are still with blue
	if n.uid("blue") != first {
		t.Fatal("a drained instance was ended")
	}
	n.undying = true // the caller dies before it deletes
	set(down, ready)
	eventually(t, "the pod to be named", func() bool {
		o, err := r.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ok, difference := o.Confirms([]route.Server{{Name: "blue", State: route.Down}, {Name: "green", State: route.Ready, Weight: 1}})
		if ok {
			t.Error("confirmed while the convicted pod lives")
		}
		return strings.Contains(difference, "not ended yet")
	})
	n.undying = false
	set(down, ready)
	eventually(t, "blue's pod to be another", func() bool { uid := n.uid("blue"); return uid != "" && uid != first })
	second := n.uid("blue")
	for range 3 {
		set(down, ready)
		time.Sleep(50 * time.Millisecond)
	}
	if n.uid("blue") != second {
		t.Error("the pod that took its place was ended too")
	}
}

func TestTwoAtATimeAreRefused(t *testing.T) {
	n := newNode(t, []routetest.Instance{{Name: "blue"}, {Name: "green"}})
	err := n.router().Set(t.Context(), []route.Server{{Name: "blue", State: route.Ready, Weight: 1}, {Name: "green", State: route.Ready, Weight: 1}})
	if err == nil || !strings.Contains(err.Error(), "one instance at a time") {
		t.Errorf("Set = %v", err)
	}
}

// lag of the stand-in for kube-proxy.
const lag = 50 * time.Millisecond

// node plays what a cluster does with a Service: the endpoints controller, a
// kube-proxy that follows late and leaves existing connections alone, and a
// StatefulSet that replaces pods that end, with all their connections.
type node struct {
	client  client.Client
	owner   *corev1.ConfigMap
	address map[string]string // of an instance
	undying bool              // deleting a pod does nothing
	reads   int               // of what the Service selects, to follow it

	mu       sync.Mutex
	open     map[net.Conn]types.UID
	selected target
	newest   int // of the reads that selected is from
	uids     int
}

// target is where connections go; empty: nowhere.
type target struct{ address, pod string }

func newNode(t *testing.T, instances []routetest.Instance) *node {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	n := &node{
		owner:   &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy", UID: "owner"}},
		address: map[string]string{}, open: map[net.Conn]types.UID{},
	}
	n.client = fake.NewClientBuilder().WithScheme(scheme).Build()
	for _, i := range instances {
		n.address[i.Name] = i.Address
	}
	n.keepPods(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			n.keepPods(ctx)
			n.keepEndpoints(ctx)
			time.Sleep(5 * time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
		n.restart()
	})
	return n
}

func (n *node) router() *service.Router {
	var deleter client.Client = mortal{n.client, n}
	return &service.Router{
		Applier: apply.Applier{Client: n.client, Live: n.client, FieldOwner: "test"}, Owner: n.owner, Name: "goproxy-router", TargetPort: "http",
		Pods: direct.Pods{Client: deleter, Reader: n.client, Namespace: "ns", Labels: map[string]string{"proxy": "goproxy"}, Server: "instance"},
	}
}

// mortal is a client whose deletions may not happen.
type mortal struct {
	client.Client
	n *node
}

// Delete implements client.Client.
func (m mortal) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	if m.n.undying {
		return nil
	}
	return m.Client.Delete(ctx, o, options...)
}

func (n *node) uid(instance string) types.UID {
	var pod corev1.Pod
	if err := n.client.Get(context.Background(), client.ObjectKey{Namespace: "ns", Name: "goproxy-" + instance + "-0"}, &pod); err != nil {
		return ""
	}
	return pod.UID
}

func (n *node) keepPods(ctx context.Context) {
	alive := map[types.UID]bool{}
	for name := range n.address {
		if n.uid(name) == "" {
			n.uids++
			_ = n.client.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: "goproxy-" + name + "-0", UID: types.UID(fmt.Sprintf("%s-%d", name, n.uids)),
				Labels: map[string]string{"proxy": "goproxy", "instance": name},
			}}) // or in the next round
		}
		alive[n.uid(name)] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn, pod := range n.open {
		if !alive[pod] {
			_ = conn.Close()
		}
	}
}

// selects are the pods that the Service selects, and the one that gets connections.
func (n *node) selects(ctx context.Context) ([]corev1.Pod, target, error) {
	var s corev1.Service
	if err := n.client.Get(ctx, client.ObjectKey{Namespace: "ns", Name: "goproxy-router"}, &s); err != nil {
		return nil, target{}, err
	}
	var pods corev1.PodList
	if err := n.client.List(ctx, &pods, client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(s.Spec.Selector)}); err != nil {
		return nil, target{}, err
	}
	var to target
	for _, p := range pods.Items {
		to = target{n.address[p.Labels["instance"]], string(p.UID)}
	}
	return pods.Items, to, nil
}

// followed reports whether connections go where the Service leads.
func (n *node) followed(ctx context.Context) bool {
	_, to, err := n.selects(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	return err == nil && n.selected == to
}

func (n *node) keepEndpoints(ctx context.Context) {
	pods, to, err := n.selects(ctx)
	if err != nil {
		return
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "goproxy-router-x",
		Labels: map[string]string{discoveryv1.LabelServiceName: "goproxy-router"}}, AddressType: discoveryv1.AddressTypeIPv4}
	for _, p := range pods {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name}})
	}
	var is discoveryv1.EndpointSlice
	if n.client.Get(ctx, client.ObjectKeyFromObject(slice), &is) != nil {
		_ = n.client.Create(ctx, slice)
	} else if len(is.Endpoints) != len(slice.Endpoints) || len(is.Endpoints) > 0 && is.Endpoints[0].TargetRef.Name != slice.Endpoints[0].TargetRef.Name {
		is.Endpoints = slice.Endpoints
		_ = n.client.Update(ctx, &is)
	}
	n.reads++
	read := n.reads
	time.AfterFunc(lag/2, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if read > n.newest { // an older one may be late
			n.selected, n.newest = to, read
		}
	})
}

// listen is the Service's address.
func (n *node) listen(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go n.serve(conn)
		}
	}()
	return l.Addr().String()
}

func (n *node) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	n.mu.Lock()
	address, pod := n.selected.address, n.selected.pod
	n.mu.Unlock()
	if address == "" {
		return
	}
	up, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	n.mu.Lock()
	n.open[conn], n.open[up] = types.UID(pod), types.UID(pod)
	n.mu.Unlock()
	go func() {
		_, _ = io.Copy(up, conn)
		_ = up.Close()
	}()
	_, _ = io.Copy(conn, up)
	n.mu.Lock()
	delete(n.open, conn)
	delete(n.open, up)
	n.mu.Unlock()
}

// restart terminates all connections; what a Service means does not depend on any
// process.
func (n *node) restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.open {
		_ = conn.Close()
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited 5 s for %s", what)
}
