package direct_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/router/weights"
)

var (
	errBroken = errors.New("the server is down")
	podKind   = schema.GroupResource{Resource: "pods"}
)

const serverLabel = "test/server"

// pod is one of a server of proxy "p".
func pod(name, server string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: name, UID: types.UID(name + "-uid"), Labels: map[string]string{"proxy": "p", serverLabel: server},
	}}
	for _, change := range changes {
		change(p)
	}
	return p
}

func pods(c client.Client) direct.Pods {
	return direct.Pods{Client: c, Reader: c, Namespace: "n", Labels: map[string]string{"proxy": "p"}, Server: serverLabel}
}

func fakeClient(funcs interceptor.Funcs, objects ...client.Object) client.Client {
	return fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
}

// annotated is a router's object on which a list of pods and an intent stand.
func annotated(t *testing.T, ending string, servers ...route.Server) client.Object {
	t.Helper()
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	if servers != nil {
		if err := direct.Note(o, "owner", servers); err != nil {
			t.Fatal(err)
		}
	}
	if ending != "" {
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, direct.EndingAnnotation, ending)
	}
	return o
}

func ready(name string, weight int) route.Server {
	return route.Server{Name: name, State: route.Ready, Weight: weight}
}
func drain(name string) route.Server { return route.Server{Name: name, State: route.Drain} }
func down(name string) route.Server  { return route.Server{Name: name, State: route.Down} }

// TestIntent holds that what was noted is what is read back, and that what
// cannot be understood is no intent.
func TestIntent(t *testing.T) {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"of/another": "x"}}}
	if err := direct.Note(o, "owner", []route.Server{ready("blue", 100), drain("green"), down("red")}); err != nil {
		t.Fatal(err)
	}
	got, ok := direct.Intent(o)
	want := weights.Weights{Owner: "owner", Generation: 1, Servers: map[string]weights.Server{
		"blue": {State: weights.Ready, Weight: 100}, "green": {State: weights.Drain}, "red": {State: weights.Down},
	}}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%v: %s", ok, diff)
	}
	if o.Annotations["of/another"] != "x" {
		t.Errorf("another's annotation is lost: %v", o.Annotations)
	}
	for name, annotations := range map[string]map[string]string{
		"none": nil, "empty": {direct.IntentAnnotation: ""}, "not JSON": {direct.IntentAnnotation: "blue=1"},
		"without servers": {direct.IntentAnnotation: `{"version":1,"owner":"owner","generation":1,"servers":{}}`},
	} {
		if w, ok := direct.Intent(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}); ok {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// TestNoteRefuses holds that what no router could follow is never published.
func TestNoteRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		owner   string
		servers []route.Server
	}{
		"no servers":            {"owner", nil},
		"no owner":              {"", []route.Server{ready("blue", 1)}},
		"ready without weight":  {"owner", []route.Server{ready("blue", 0)}},
		"too heavy":             {"owner", []route.Server{ready("blue", weights.MaxWeight+1)}},
		"down and with weight":  {"owner", []route.Server{{Name: "blue", State: route.Down, Weight: 1}}},
		"a name that is no DNS": {"owner", []route.Server{ready("Blue", 1)}},
	} {
		o := &corev1.Service{}
		if err := direct.Note(o, tt.owner, tt.servers); err == nil || len(o.Annotations) > 0 {
			t.Errorf("%s: %v, annotations %v", name, err, o.Annotations)
		}
	}
}

func TestObserved(t *testing.T) {
	w := weights.Weights{Servers: map[string]weights.Server{
		"blue": {State: weights.Ready, Weight: 100}, "green": {State: weights.Drain}, "red": {State: weights.Down},
	}}
	want := map[string]route.Observed{
		"blue": {State: route.Ready, Weight: 100, Healthy: true}, "green": {State: route.Drain}, "red": {State: route.Down},
	}
	if diff := cmp.Diff(want, direct.Observed(w, func(server string) bool { return server == "blue" })); diff != "" {
		t.Error(diff)
	}
}

func TestPodsOf(t *testing.T) {
	p := pods(fakeClient(interceptor.Funcs{},
		pod("b-1", "blue"), pod("b-2", "blue"), pod("g-1", "green"),
		pod("of-another-proxy", "blue", func(p *corev1.Pod) { p.Labels["proxy"] = "q" }),
		pod("of-another-namespace", "blue", func(p *corev1.Pod) { p.Namespace = "m" }),
	))
	for server, want := range map[string][]string{"blue": {"b-1", "b-2"}, "green": {"g-1"}, "red": nil} {
		all, err := p.Of(t.Context(), server)
		var got []string
		for _, pod := range all {
			got = append(got, pod.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v: %s", server, err, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{"proxy": "p"}, p.Labels); diff != "" {
		t.Errorf("the labels were changed: %s", diff)
	}
}

func TestNoteEnding(t *testing.T) {
	p := pods(fakeClient(interceptor.Funcs{}, pod("b-1", "blue"), pod("b-2", "blue"), pod("g-1", "green")))
	for _, tt := range []struct {
		name    string
		live    client.Object // nil: the router is new
		servers []route.Server
		want    string
	}{
		{"new, with one down", nil, []route.Server{down("blue"), ready("green", 1)}, ""},
		{"none down", annotated(t, "", ready("blue", 1), ready("green", 1)), []route.Server{drain("blue"), ready("green", 1)}, ""},
		{"one becomes down", annotated(t, "", ready("blue", 1), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, "b-1/b-1-uid,b-2/b-2-uid"},
		{"one that was drained becomes down", annotated(t, "", drain("blue"), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, "b-1/b-1-uid,b-2/b-2-uid"},
		{"it was down before", annotated(t, "", down("blue"), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, ""},
		{"it was not known before", annotated(t, "", ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, ""},
		{"the intent before cannot be understood", annotated(t, ""), []route.Server{down("blue"), ready("green", 1)}, ""},
		{"it is down and its pods still run", annotated(t, "b-1/b-1-uid", down("blue"), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, "b-1/b-1-uid"},
		{"it is ready again and its old pod still runs", annotated(t, "b-1/b-1-uid", down("blue"), ready("green", 1)), []route.Server{ready("blue", 1), ready("green", 1)}, "b-1/b-1-uid"},
		{"others have taken the place of its pods", annotated(t, "b-1/old-uid,b-0/b-0-uid", down("blue"), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, ""},
		{"the other follows", annotated(t, "b-2/b-2-uid", down("blue"), ready("green", 1)), []route.Server{down("blue"), down("green")}, "b-2/b-2-uid,g-1/g-1-uid"},
		{"listed already", annotated(t, "b-2/b-2-uid", ready("blue", 1), ready("green", 1)), []route.Server{down("blue"), ready("green", 1)}, "b-1/b-1-uid,b-2/b-2-uid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			desired := &corev1.Service{}
			if err := p.NoteEnding(t.Context(), tt.live, desired, tt.servers); err != nil {
				t.Fatal(err)
			}
			got, noted := desired.Annotations[direct.EndingAnnotation]
			if got != tt.want || !noted {
				t.Errorf("noted %q (%v), want %q", got, noted, tt.want)
			}
		})
	}
}

// TestNoteEndingFails holds that nothing is published while it is not known
// which pods must end: the intent would be noted, and the pods forgotten.
func TestNoteEndingFails(t *testing.T) {
	live := annotated(t, "b-1/b-1-uid", ready("blue", 1), ready("green", 1))
	for name, funcs := range map[string]interceptor.Funcs{
		"get": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errBroken
		}},
		"list": {List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errBroken
		}},
	} {
		desired := &corev1.Service{}
		err := pods(fakeClient(funcs, pod("b-1", "blue"))).NoteEnding(t.Context(), live, desired, []route.Server{down("blue"), ready("green", 1)})
		if !errors.Is(err, errBroken) || len(desired.Annotations) > 0 {
			t.Errorf("%s fails: %v, noted %v", name, err, desired.Annotations)
		}
	}
}

func TestEnding(t *testing.T) {
	p := pods(fakeClient(interceptor.Funcs{}, pod("b-1", "blue"), pod("b-2", "blue")))
	for noted, want := range map[string][]string{
		"": nil, ",": nil, "b-1": nil, "b-1/b-1-uid": {"b-1/b-1-uid"}, "b-1/other-uid": nil, "gone/gone-uid": nil,
		"b-2/b-2-uid,gone/gone-uid,b-1/b-1-uid": {"b-2/b-2-uid", "b-1/b-1-uid"},
	} {
		got, err := p.Ending(t.Context(), annotated(t, noted))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v: %s", noted, err, diff)
		}
	}
}

// TestEnd holds that exactly the pods that are noted are deleted, each under the
// condition that it still is that one, and with one second to end.
func TestEnd(t *testing.T) {
	deleted := map[string]client.DeleteOptions{}
	p := pods(fakeClient(interceptor.Funcs{Delete: func(_ context.Context, _ client.WithWatch, o client.Object, options ...client.DeleteOption) error {
		var with client.DeleteOptions
		with.ApplyOptions(options)
		deleted[o.GetNamespace()+"/"+o.GetName()] = with
		return nil
	}}, pod("b-1", "blue"), pod("b-2", "blue"), pod("b-3", "blue")))
	if err := p.End(t.Context(), annotated(t, "b-1/b-1-uid,b-2/old-uid,gone/gone-uid")); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(deleted)); !slices.Equal(got, []string{"n/b-1"}) {
		t.Fatalf("deleted %v", got)
	}
	with := deleted["n/b-1"]
	if ptr.Deref(with.GracePeriodSeconds, -1) != 1 || with.Preconditions == nil || ptr.Deref(with.Preconditions.UID, "") != "b-1-uid" {
		t.Errorf("deleted with %+v", with)
	}
}

func TestEndFails(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want bool // an error
	}{
		"gone meanwhile":             {apierrors.NewNotFound(podKind, "b-1"), false},
		"another one of that name":   {apierrors.NewConflict(podKind, "b-1", errBroken), false},
		"forbidden":                  {apierrors.NewForbidden(podKind, "b-1", errBroken), true},
		"the server cannot be asked": {errBroken, true},
	} {
		var asked []string
		p := pods(fakeClient(interceptor.Funcs{Delete: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.DeleteOption) error {
			asked = append(asked, o.GetName())
			return tt.err
		}}, pod("b-1", "blue"), pod("b-2", "blue")))
		err := p.End(t.Context(), annotated(t, "b-1/b-1-uid,b-2/b-2-uid"))
		if (err != nil) != tt.want || tt.want && !(errors.Is(err, tt.err) && strings.Contains(err.Error(), "b-1") && strings.Contains(err.Error(), "b-2")) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(asked, []string{"b-1", "b-2"}) {
			t.Errorf("%s: asked for %v", name, asked)
		}
	}
	p := pods(fakeClient(interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}}))
	if err := p.End(t.Context(), annotated(t, "b-1/b-1-uid")); !errors.Is(err, errBroken) {
		t.Errorf("it cannot be read what is left: %v", err)
	}
}
