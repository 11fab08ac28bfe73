package writer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/images"
	plan "gocache.dev/operator/internal/plan/writer"
)

// clusterOf answers as an API server with these objects: what is created gets a uid.
func clusterOf(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	if funcs.Create == nil {
		funcs.Create = func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			o.SetUID("created")
			return c.Create(ctx, o, options...)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
}

// declared is a GoCache that was warmed, and whose spec has all that its Jobs depend on.
func declared(t *testing.T, objects ...client.Object) *turn {
	t.Helper()
	turn := warmedOnce()
	c := turn.cache
	c.Namespace, c.UID = "n", "cache-uid"
	c.Spec.Platform = "linux/arm64"
	c.Spec.Layers = []v1alpha1.CacheLayer{v1alpha1.LayerModules, v1alpha1.LayerBuild}
	c.Spec.Environment = v1alpha1.Environment{MountPath: "/gocache"}
	c.Spec.Toolchain = v1alpha1.Toolchain{Version: "1.26.8"}
	c.Spec.Cleanup = &v1alpha1.Cleanup{MaxSize: ptr.To(resource.MustParse("5Gi")), MaxAge: &metav1.Duration{Duration: 48 * time.Hour}}
	c.Spec.Integrity = &v1alpha1.CacheIntegrity{Deadline: &metav1.Duration{Duration: 20 * time.Minute}}
	c.Spec.Snapshots = &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Trust: &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}}}
	c.Spec.WarmUp = &v1alpha1.WarmUp{
		Deadline: &metav1.Duration{Duration: 30 * time.Minute},
		Sources:  []v1alpha1.WarmUpSource{{ConfigMapRef: &v1alpha1.LocalReference{Name: "app"}}},
	}
	turn.Stored = c.DeepCopy()
	turn.Images = images.Images{Operator: "operator:1", Toolchain: "golang:{version}"}
	turn.FieldOwner = "test"
	turn.Client = clusterOf(t, interceptor.Funcs{}, append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "a"}})...)
	turn.Live = turn.Client
	return turn
}

// withSources has one source of each type, one that is missing, and a proxy that
// requires credentials.
func withSources(turn *turn) {
	turn.Proxies = egress.Proxies{HTTP: "http://egress.test:1", HTTPS: "http://egress.test:2", NoProxy: ".cluster.local"}
	turn.Proxy, turn.ProxyURL, turn.ProxySecret = "http://goproxy.n.svc:3000", "http://goproxy.n.svc:3000", "clients"
	turn.Sources = []pass.Source{
		{Label: "app", Name: "app", Keys: []string{"go.mod", "go.sum"}, Data: map[string]string{"go.mod": "m"}},
		{Label: "gone", Missing: "ConfigMap gone does not exist"},
		{Label: "repo", Git: &pass.GitSource{URL: "https://git.test/r", Ref: "main", Commit: "c1", Secret: "token", CA: "authority", Sparse: []string{"a"}, Submodules: true}},
		{Label: "open", Git: &pass.GitSource{URL: "https://git.test/o", Ref: "v1", Commit: "c2"}},
		{Label: "unread", Missing: "no route", Git: &pass.GitSource{URL: "https://git.test/u"}},
	}
}

// TestJobsGolden holds the Jobs of each action, as they are created.
func TestJobsGolden(t *testing.T) {
	due := plan.DueAction{Cause: "because"}
	var text strings.Builder
	for _, tt := range []struct {
		name   string
		action action
		change func(*turn)
	}{
		{"warm-up", warmUp{}, withSources},
		{"warm-up of an image, without modules, never sealed", warmUp{}, func(t *turn) {
			t.cache.Spec.Toolchain.Image, t.cache.Spec.Layers, t.cache.Status.ManifestDigest = "example.test/go:1", []v1alpha1.CacheLayer{v1alpha1.LayerBuild}, ""
			t.cache.Spec.WarmUp = nil
		}},
		{"plan of a cleanup", cleanUp{}, func(t *turn) { accept(t, v1alpha1.RequestCleanup) }},
		{"cleanup", cleanUp{}, func(t *turn) {
			t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:1", Open: true, Bounds: t.bounds(), Time: metav1.NewTime(now.Add(-time.Hour))}}
			t.cache.Spec.Layers = t.cache.Spec.Layers[:1]
		}},
		{"check", integrityCheck{}, func(t *turn) { accept(t, v1alpha1.RequestCheckIntegrity) }},
	} {
		turn := declared(t)
		tt.change(turn)
		job, err := tt.action.job(t.Context(), turn, due)
		if err != nil {
			t.Fatal(err)
		}
		object, err := yaml.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("--- # " + tt.name + "\n" + string(object))
	}
	golden := filepath.Join("testdata", "jobs.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("the Jobs differ from %s; set UPDATE_GOLDEN=1 to accept (-want +got):\n%s", golden, diff)
	}
}

// TestCheckDeadline holds how long a check may take: as long as the spec allows, and if
// it answers a request, no longer than the request waits.
func TestCheckDeadline(t *testing.T) {
	requested := func(ago time.Duration) func(*turn) {
		return func(t *turn) {
			accept(t, v1alpha1.RequestCheckIntegrity)
			t.cache.Status.Request.Time = metav1.NewTime(now.Add(-ago))
		}
	}
	for name, tt := range map[string]struct {
		change func(*turn)
		want   time.Duration
	}{
		"of the spec":           {func(*turn) {}, 20 * time.Minute},
		"the default":           {func(t *turn) { t.cache.Spec.Integrity.Deadline = nil }, time.Hour},
		"not declared":          {func(t *turn) { t.cache.Spec.Integrity = nil }, time.Hour},
		"requested a while ago": {requested(5 * time.Minute), 15 * time.Minute},
		"requested later":       {requested(-5 * time.Minute), 20 * time.Minute},
		"another request": {func(t *turn) {
			accept(t, v1alpha1.RequestWarmUp)
			t.cache.Status.Request.Time = metav1.NewTime(now.Add(-5 * time.Minute))
		}, 20 * time.Minute},
	} {
		turn := declared(t)
		tt.change(turn)
		job, err := integrityCheck{}.job(t.Context(), turn, plan.DueAction{})
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Duration(*job.Spec.ActiveDeadlineSeconds) * time.Second; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := CheckDeadline(&v1alpha1.GoCache{}); got != time.Hour {
		t.Errorf("by default %s", got)
	}
}

// TestCheckNeedsTrustData holds that a check whose trust data does not exist waits for
// a person.
func TestCheckNeedsTrustData(t *testing.T) {
	turn := declared(t)
	turn.Live = clusterOf(t, interceptor.Funcs{})
	if _, err := (integrityCheck{}).job(t.Context(), turn, plan.DueAction{}); conditions.Stalled(err) == nil {
		t.Errorf("without its ConfigMap: %v", err)
	}
}

// TestStopAfter holds how long before its deadline a warm-up stops, to record what it
// has done.
func TestStopAfter(t *testing.T) {
	for deadline, want := range map[time.Duration]time.Duration{
		time.Minute: 0, 2*time.Minute - 1: 0, 2 * time.Minute: 90 * time.Second, 5 * time.Minute: 270 * time.Second, time.Hour: 54 * time.Minute,
	} {
		if got := stopAfter(deadline); got != want {
			t.Errorf("of %s: %s, want %s", deadline, got, want)
		}
	}
}

// TestModulesThrough holds which proxy the go command reaches the sources of modules
// through: never the ModProxy, and nothing by http.
func TestModulesThrough(t *testing.T) {
	turn := fresh()
	turn.Proxies = egress.Proxies{HTTP: "http://egress.test:1", HTTPS: "http://egress.test:2"}
	for url, want := range map[string]map[string]string{
		"":                          {"HTTPS_PROXY": "http://egress.test:2"},
		"http://goproxy.n.svc:3000": {"HTTPS_PROXY": "http://egress.test:2", "NO_PROXY": "goproxy.n.svc"},
		"\x7f":                      {"HTTPS_PROXY": "http://egress.test:2"},
	} {
		turn.ProxyURL = url
		if diff := cmp.Diff(want, turn.modulesThrough()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", url, diff)
		}
	}
}

// TestCommits holds which commits of a Job count as built: not those of a source that
// failed, and the only one of an earlier release's Job.
func TestCommits(t *testing.T) {
	turn := fresh()
	withSources(turn)
	text := commits(turn.Sources)
	if text != "repo=c1,open=c2" {
		t.Errorf("a Job has %q", text)
	}
	for _, tt := range []struct {
		text   string
		failed []string
		want   []string
	}{
		{text, nil, []string{"c1", "c2"}}, {text, []string{"repo"}, []string{"c2"}}, {text, []string{"repo", "open"}, nil},
		{"c0", nil, []string{"c0"}}, {"c0", []string{"c0"}, []string{"c0"}},
	} {
		if got := builtCommits(tt.text, tt.failed); !slices.Equal(got, tt.want) {
			t.Errorf("%q without %q: %q, want %q", tt.text, tt.failed, got, tt.want)
		}
	}
	turn.cache.Status.WarmUp.Revisions = []v1alpha1.GitRevision{{Commit: ""}, {Commit: "c1"}, {Commit: "c3", WarmedCommit: "c2"}}
	turn.recordCommits([]string{"", "c1"})
	want := []v1alpha1.GitRevision{{Commit: ""}, {Commit: "c1", WarmedCommit: "c1"}, {Commit: "c3", WarmedCommit: "c2"}}
	if diff := cmp.Diff(want, turn.cache.Status.WarmUp.Revisions); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
}

// TestInputs holds what leads to another warm-up.
func TestInputs(t *testing.T) {
	of := func(change func(*turn)) string {
		turn := declared(t)
		withSources(turn)
		change(turn)
		return turn.inputs()
	}
	base := of(func(*turn) {})
	if len(base) != 32 || base != of(func(*turn) {}) {
		t.Errorf("inputs %q", base)
	}
	for name, change := range map[string]func(*turn){
		"release":     func(t *turn) { t.cache.Spec.Toolchain.Version = "1.26.9" },
		"image":       func(t *turn) { t.cache.Spec.Toolchain.Image = "golang:1.26.8" },
		"platform":    func(t *turn) { t.cache.Spec.Platform = "linux/amd64" },
		"layers":      func(t *turn) { t.cache.Spec.Layers = t.cache.Spec.Layers[:1] },
		"mount path":  func(t *turn) { t.cache.Spec.Environment.MountPath = "/c" },
		"data":        func(t *turn) { t.Sources[0].Data["go.mod"] = "n" },
		"repository":  func(t *turn) { t.Sources[2].Git.URL = "https://git.test/s" },
		"commit":      func(t *turn) { t.Sources[2].Git.Commit = "c9" },
		"directories": func(t *turn) { t.Sources[2].Git.Sparse = nil },
		"submodules":  func(t *turn) { t.Sources[2].Git.Submodules = false },
	} {
		if of(change) == base {
			t.Errorf("another %s is no reason for a warm-up", name)
		}
	}
	if of(func(t *turn) { t.Sources[2].Git.Secret, t.Sources[2].Git.Ref = "", "" }) != base {
		t.Error("other credentials are a reason for a warm-up")
	}
	named := func(version string) func(*turn) {
		return func(t *turn) {
			t.cache.Spec.Toolchain.Image, t.cache.Spec.Toolchain.Version = "example.test/go", version
		}
	}
	if of(named("1.26.8")) == of(named("1.26.9")) {
		t.Error("another release of a named image is no reason for a warm-up")
	}
}

// TestNearConsumers holds on which node a writer runs: that of the pods that have the
// volume mounted, if only one node can have it.
func TestNearConsumers(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "build"}, Spec: corev1.PodSpec{NodeName: "node-1"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "tmp"}, {Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}}}
		p.Status.Phase = corev1.PodRunning
		change(p)
		return p
	}
	for name, tt := range map[string]struct {
		pod  *corev1.Pod
		many bool
		want string
	}{
		"it has the volume":          {pod(func(*corev1.Pod) {}), false, "node-1"},
		"many nodes can have it":     {pod(func(*corev1.Pod) {}), true, ""},
		"it has no node":             {pod(func(p *corev1.Pod) { p.Spec.NodeName = "" }), false, ""},
		"it has succeeded":           {pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), false, ""},
		"it has failed":              {pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), false, ""},
		"it has another volume":      {pod(func(p *corev1.Pod) { p.Spec.Volumes[1].PersistentVolumeClaim.ClaimName = "cd" }), false, ""},
		"it is of another namespace": {pod(func(p *corev1.Pod) { p.Namespace = "m" }), false, ""},
	} {
		turn := declared(t, tt.pod)
		turn.cache.Spec.Storage.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		if tt.many {
			turn.cache.Spec.Storage.AccessModes[0] = corev1.ReadWriteMany
		}
		job := &batchv1.Job{}
		if can, err := turn.bind(t.Context(), plan.WarmUp, job); err != nil || !can {
			t.Fatal(can, err)
		}
		got := ""
		if affinity := job.Spec.Template.Spec.Affinity; affinity != nil {
			expression := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0]
			got = expression.Values[0]
			if expression.Key != "metadata.name" || expression.Operator != corev1.NodeSelectorOpIn {
				t.Errorf("%s: %+v", name, expression)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	turn := declared(t)
	broken := errors.New("the server is down")
	turn.Live = clusterOf(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken }})
	if can, err := turn.bind(t.Context(), plan.WarmUp, &batchv1.Job{}); can || !errors.Is(err, broken) {
		t.Errorf("pods that cannot be read: %v", err)
	}
}

// TestLongReports holds that a report of more sources and builds than the status can
// hold does not make it invalid.
func TestLongReports(t *testing.T) {
	if got := sourceStatus(manySources(17, 9)); len(got) != 16 || len(got[0].Builds) != 8 {
		t.Errorf("%d sources, %d builds", len(got), len(got[0].Builds))
	} else if s, b := got[15], got[15].Builds[7]; len(s.Name) != 63 || len(s.Reason) != 63 || len(s.Message) != 2048 || len(b.Name) != 32 || len(b.Message) != 2048 ||
		b.Outcome != v1alpha1.RunFailed || b.Entries != 4 || b.Duration.Duration != 1300*time.Millisecond {
		t.Errorf("%+v", s)
	}
	if got := sourceStatus(manySources(2, 1)); len(got) != 2 || len(got[1].Builds) != 1 || got[1].Outcome != v1alpha1.RunSucceeded {
		t.Errorf("%+v", got)
	}
	if got := fmt.Sprint(failedSources([]v1alpha1.SourceStatus{{Name: "a", Outcome: v1alpha1.RunFailed}, {Name: "b", Outcome: v1alpha1.RunSucceeded}})); got != "[a]" {
		t.Errorf("failed: %s", got)
	}
}
