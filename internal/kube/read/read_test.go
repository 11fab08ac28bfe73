package read_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/read"
)

// TestObject holds that nil means "does not exist" and nothing else: a read that
// fails is an error.
func TestObject(t *testing.T) {
	broken := errors.New("the server is down")
	kind := schema.GroupResource{Resource: "configmaps"}
	for _, tt := range []struct {
		name      string
		namespace string
		object    string
		fails     error
		found     bool
		want      error
	}{
		{name: "it exists", namespace: "n", object: "c", found: true},
		{name: "it does not exist", namespace: "n", object: "d"},
		{name: "it exists in another namespace", namespace: "m", object: "c"},
		{name: "no name", namespace: "n", fails: broken},
		{name: "the server says that it does not exist", namespace: "n", object: "c", fails: apierrors.NewNotFound(kind, "c")},
		{name: "the read fails", namespace: "n", object: "c", fails: broken, want: broken},
		{name: "the read is forbidden", namespace: "n", object: "c", fails: apierrors.NewForbidden(kind, "c", broken), want: apierrors.NewForbidden(kind, "c", broken)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fake.NewClientBuilder().
				WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c"}, Data: map[string]string{"k": "v"}}).
				WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if tt.fails != nil {
						o.SetName("half read")
						return tt.fails
					}
					return c.Get(ctx, key, o, options...)
				}}).Build()
			got, err := read.Object[corev1.ConfigMap](t.Context(), c, tt.namespace, tt.object)
			if (err != nil) != (tt.want != nil) || tt.want != nil && apierrors.ReasonForError(err) != apierrors.ReasonForError(tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if errors.Is(tt.want, broken) && !errors.Is(err, broken) {
				t.Errorf("error %v does not wrap %v", err, broken)
			}
			if (got != nil) != tt.found || tt.found && got.Data["k"] != "v" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// pods are so many that a list has several pages.
func pods(n int) *corev1.PodList {
	list := &corev1.PodList{}
	for i := range n {
		list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}})
	}
	return list
}

// paged answers lists as an API server does, in pages, and refuses those that have more than
// fits objects.
type paged struct {
	client.Reader
	all      *corev1.PodList
	fits     int
	requests []int64
	fails    error
}

// List answers with a page.
func (p *paged) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	of := client.ListOptions{}
	of.ApplyOptions(options)
	p.requests = append(p.requests, of.Limit)
	from, _ := strconv.Atoi(of.Continue)
	if p.fails != nil && from > 0 {
		return p.fails
	}
	to := min(from+int(of.Limit), len(p.all.Items))
	if to-from > p.fits {
		return fmt.Errorf("get the pods: %w", read.ErrTooLarge)
	}
	list.(*corev1.PodList).Items = slices.Clone(p.all.Items[from:to])
	if to < len(p.all.Items) {
		list.SetContinue(strconv.Itoa(to))
	}
	return nil
}

// TestAll holds that a list has each object once, in order, however many fit into a page, and
// that a list which fails does not look like one that has ended.
func TestAll(t *testing.T) {
	broken := errors.New("the server is down")
	for _, tt := range []struct {
		name     string
		is       paged
		want     int
		requests []int64
		fails    error
	}{
		{"none", paged{fits: 9}, 0, []int64{64}, nil},
		{"one page", paged{all: pods(64), fits: 256}, 64, []int64{64}, nil},
		{"several", paged{all: pods(600), fits: 256}, 600, []int64{64, 128, 256, 256}, nil},
		{"large ones", paged{all: pods(12), fits: 4}, 12, []int64{64, 8, 1, 2, 4, 8, 1, 2, 4}, nil},
		{"each fills a page", paged{all: pods(3), fits: 1}, 3, []int64{64, 8, 1, 2, 1, 2}, nil},
		{"one is too large", paged{all: pods(1)}, 0, []int64{64, 8, 1}, read.ErrTooLarge},
		{"the second page fails", paged{all: pods(300), fits: 256, fails: broken}, 64, []int64{64, 128}, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.is.all == nil {
				tt.is.all = pods(0)
			}
			seen := 0
			var failed error
			for pod, err := range read.All[corev1.Pod](t.Context(), &tt.is, &corev1.PodList{}) {
				if failed = err; err != nil {
					continue // it ends
				}
				if pod.Name != strconv.Itoa(seen) {
					t.Fatalf("%s comes after %d others", pod.Name, seen)
				}
				seen++
			}
			if tt.fails == read.ErrTooLarge && (failed == nil || !strings.Contains(failed.Error(), "an object is larger than 2 MiB: ")) {
				t.Errorf("error %v", failed)
			}
			if seen != tt.want || !errors.Is(failed, tt.fails) || (failed == nil) != (tt.fails == nil) {
				t.Errorf("%d objects, %v; want %d, %v", seen, failed, tt.want, tt.fails)
			}
			if diff := cmp.Diff(tt.requests, tt.is.requests); diff != "" {
				t.Errorf("limits of the requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAllIsBounded holds that a list ends, whatever the server answers.
func TestAllIsBounded(t *testing.T) {
	endless := &paged{all: pods(5000), fits: 1}
	var failed error
	for _, err := range read.All[corev1.Pod](t.Context(), endless, &corev1.PodList{}) {
		failed = err
	}
	if failed == nil || len(endless.requests) != 1000 || !strings.Contains(failed.Error(), "more than 1000 pages of 2 MiB") {
		t.Errorf("%d requests, %v", len(endless.requests), failed)
	}
}

// slow records how long a request may take.
type slow struct {
	client.Reader
	may time.Duration
}

// List answers with an empty page.
func (s *slow) List(ctx context.Context, _ client.ObjectList, _ ...client.ListOption) error {
	if deadline, ok := ctx.Deadline(); ok {
		s.may = time.Until(deadline)
	}
	return nil
}

// TestRequestsEnd holds that no request keeps its place for longer than half a minute.
func TestRequestsEnd(t *testing.T) {
	s := &slow{}
	for _, err := range read.All[corev1.Pod](t.Context(), s, &corev1.PodList{}) {
		t.Error(err)
	}
	if s.may <= 0 || s.may > 30*time.Second {
		t.Errorf("a request may take %s", s.may)
	}
}

// TestPagesAtOnce holds that two lists have a page in memory at once, that a third one waits for
// them, and that it gives up with its context.
func TestPagesAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list := func(ctx context.Context, within func()) (failed error) {
		for _, err := range read.All[corev1.Pod](ctx, &paged{all: pods(1), fits: 1}, &corev1.PodList{}) {
			if failed = err; err == nil {
				within()
			}
		}
		return failed
	}
	ran := 0
	outer := list(ctx, func() {
		inner := list(ctx, func() {
			ran++
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if err := list(short, func() { t.Error("a third page is in memory") }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the third list: %v", err)
			}
		})
		if inner != nil {
			t.Errorf("the second list: %v", inner)
		}
	})
	if outer != nil || ran != 1 {
		t.Errorf("the first list: %v; the second had %d pages", outer, ran)
	}
}

// TestAllIsLeft holds that a loop may be left, and that the next list is not kept from its turn.
func TestAllIsLeft(t *testing.T) {
	for range 5 {
		p := &paged{all: pods(600), fits: 256}
		for _, err := range read.All[corev1.Pod](t.Context(), p, &corev1.PodList{}) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if len(p.requests) != 1 {
			t.Errorf("%d requests for one object", len(p.requests))
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range read.All[corev1.Pod](ended, &paged{all: pods(1), fits: 1}, &corev1.PodList{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

// bounded is a client of a server whose transport is bounded, around others.
func bounded(t *testing.T, url string, others ...transport.WrapperFunc) client.Client {
	t.Helper()
	config := &rest.Config{Host: url, WrapTransport: transport.Wrappers(others...)}
	config.Wrap(read.Bound)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	c, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBound holds that a page that is too large is not read to its end, and that other requests
// are left alone.
func TestBound(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"`)
		block := bytes.Repeat([]byte("x"), 1<<20)
		for range sent.Load() {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, `"}}]}`)
	}))
	defer server.Close()
	c := bounded(t, server.URL)
	for _, tt := range []struct {
		megabytes int64
		want      error
	}{{1, nil}, {5, read.ErrTooLarge}, {512, read.ErrTooLarge}} {
		sent.Store(tt.megabytes)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var failed error
		for _, err := range read.All[corev1.Pod](t.Context(), c, &corev1.PodList{}, client.InNamespace("n")) {
			failed = err
		}
		runtime.ReadMemStats(&after)
		if !errors.Is(failed, tt.want) || (failed == nil) != (tt.want == nil) {
			t.Errorf("%d MiB: %v, want %v", tt.megabytes, failed, tt.want)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 64 {
			t.Errorf("%d MiB: %d MiB were allocated", tt.megabytes, allocated)
		}
	}
	sent.Store(5)
	if err := c.List(t.Context(), &corev1.PodList{}, client.InNamespace("n")); err != nil {
		t.Errorf("a request of others: %v", err)
	}
}

// TestPageSizes holds how many objects are requested after a page of a size: as many as fill half
// of the largest page, at most twice as many as before and never none; and that a page of just
// that size is read.
func TestPageSizes(t *testing.T) {
	const head, tail = `{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"more"},"items":[{"metadata":{"name":"p","labels":{"a":"`, `"}}}]}`
	const last = `{"kind":"PodList","apiVersion":"v1","items":[]}`
	const largest = 2097152
	for name, tt := range map[string]struct {
		sizes  []int // of the pages, in bytes; one without objects comes after them
		limits []string
		fails  error
	}{
		"small ones":         {[]int{1000, 1000, 1000}, []string{"64", "128", "256", "256"}, nil},
		"the largest":        {[]int{largest, largest, largest, largest, largest, largest, largest, largest}, []string{"64", "32", "16", "8", "4", "2", "1", "1", "1"}, nil},
		"half of it":         {[]int{largest / 2, largest / 2}, []string{"64", "64", "64"}, nil},
		"a quarter":          {[]int{largest / 4, largest / 4}, []string{"64", "128", "256"}, nil},
		"three eighths":      {[]int{largest * 3 / 8}, []string{"64", "85"}, nil},
		"one byte too large": {[]int{largest, largest + 1, largest}, []string{"64", "32", "4", "2"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var limits []string
			sizes := tt.sizes
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				limits = append(limits, r.URL.Query().Get("limit"))
				w.Header().Set("Content-Type", "application/json")
				if len(sizes) == 0 {
					_, _ = io.WriteString(w, last)
					return
				}
				_, _ = io.WriteString(w, head+strings.Repeat("x", sizes[0]-len(head)-len(tail))+tail)
				sizes = sizes[1:]
			}))
			defer server.Close()
			c := bounded(t, server.URL)
			var failed error
			for _, err := range read.All[corev1.Pod](t.Context(), c, &corev1.PodList{}, client.InNamespace("n")) {
				failed = err
			}
			if !errors.Is(failed, tt.fails) || (failed == nil) != (tt.fails == nil) {
				t.Errorf("%v, want %v", failed, tt.fails)
			}
			if diff := cmp.Diff(tt.limits, limits); diff != "" {
				t.Errorf("limits of the requests (-want +got):\n%s", diff)
			}
		})
	}
}

// failingTransport has no response.
type failingTransport struct{ err error }

// RoundTrip fails.
func (f failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// TestBoundTransport holds that a request which fails has its own error, and that client
// libraries find the transport below.
func TestBoundTransport(t *testing.T) {
	broken := errors.New("no connection")
	c := bounded(t, "http://127.0.0.1:1", func(http.RoundTripper) http.RoundTripper { return failingTransport{broken} })
	var failed error
	for _, err := range read.All[corev1.Pod](t.Context(), c, &corev1.PodList{}) {
		failed = err
	}
	if !errors.Is(failed, broken) {
		t.Errorf("%v, want %v", failed, broken)
	}
	wrapper, ok := read.Bound(failingTransport{broken}).(utilnet.RoundTripperWrapper)
	if !ok || wrapper.WrappedRoundTripper() != http.RoundTripper(failingTransport{broken}) {
		t.Error("the transport below is not found")
	}
}
