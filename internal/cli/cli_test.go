package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	clientsetfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func agop(d time.Duration) *metav1.Time { return ptr.To(ago(d)) }

// fakeApp is an app without a cluster, in namespace ci.
func fakeApp(t *testing.T, c client.Client, clientset kubernetes.Interface) (a *app, out, errOut *bytes.Buffer) {
	t.Helper()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	a = &app{IOStreams: streams, flags: genericclioptions.NewConfigFlags(false), now: func() time.Time { return now }, interval: 5 * time.Millisecond}
	// Not the kubeconfig of the person who runs the test.
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	a.flags.Namespace = ptr.To("ci")
	a.client = func() (client.Client, error) { return c, nil }
	a.clientset = func() (kubernetes.Interface, error) { return clientset, nil }
	return a, out, errOut
}

func run(t *testing.T, a *app, args ...string) error {
	t.Helper()
	root := a.root("v0.1.0")
	root.SetArgs(args)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return root.ExecuteContext(ctx)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // a golden file
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", name, diff)
	}
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: ago(3 * time.Hour)}
}

func meta(name string, age time.Duration) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ci", Name: name, CreationTimestamp: ago(age)}
}

// world is a namespace with a cache and a proxy, each with something to see.
func world() []client.Object {
	group := v1alpha1.GroupName
	snapshotOf := func(name string, age time.Duration, verdict v1alpha1.Verdict, c ...metav1.Condition) *v1alpha1.CacheSnapshot {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: meta(name, age)}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: "GoCache", Name: "ci"}
		s.Status.Conditions, s.Status.Verification.Verdict = c, verdict
		return s
	}
	claim := func(name, kind, source, volume string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: meta(name, time.Hour)}
		if kind != "" {
			c.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: &group, Kind: kind, Name: source}
		}
		c.Spec.VolumeName, c.Status.Phase = volume, phase
		return c
	}
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci", 48*time.Hour)}
	cache.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "New PVCs are populated from CacheSnapshot ci-2"),
		condition(v1alpha1.WarmCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpFailed, "Warm-up 9 failed: go.mod of ci-modules requires a version that does not exist"),
	}
	cache.Status.LatestVerifiedSnapshot = "ci-2"
	cache.Status.Storage = v1alpha1.CacheStorageStatus{
		PersistentVolumeClaimName: "ci", VolumeName: "pv-ci", Capacity: ptr.To(resource.MustParse("50Gi")), UsedPercent: ptr.To[int32](41), AppliedClass: "fast",
	}
	intact := snapshotOf("ci-2", 2*time.Hour, v1alpha1.VerdictIntact, condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIntact, "Intact"))
	intact.Status.Verification.Counts.BuildEntries, intact.Status.Verification.ProvenBuildEntries = 5120, 5100
	intact.Status.Verification.Counts.Modules, intact.Status.Verification.ProvenModules, intact.Status.Verification.TotalModules = 812, 800, 812
	proxy := &v1alpha1.ModProxy{ObjectMeta: meta("goproxy", 72*time.Hour)}
	proxy.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue"}, {Name: "green"}}
	proxy.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves"),
		condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreCorrupt, "Instance blue is quarantined"),
	}
	proxy.Status.Instances = []v1alpha1.InstanceStatus{
		{Name: "blue", Quarantined: &v1alpha1.Quarantine{Reason: "ChecksumMismatch", Message: "example.com/a@v1.0.0 differs", Time: ago(10 * time.Minute)}},
		{Name: "green", Healthy: true, Serving: true, DesiredWeight: 100, ObservedWeight: 100, DiskUsedPercent: ptr.To[int32](35), HealthySince: agop(70 * time.Hour)},
	}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: "ci-2"}}}
	request := func(name string, age time.Duration, target v1alpha1.RequestTarget, action v1alpha1.RequestAction, argument string, outcome v1alpha1.RequestOutcome, message string) *v1alpha1.CacheRequest {
		r := &v1alpha1.CacheRequest{ObjectMeta: meta(name, age)}
		r.Spec = v1alpha1.CacheRequestSpec{TargetRef: target, Action: action, Argument: argument}
		r.Status.Outcome, r.Status.Message = outcome, message
		if outcome != "" && outcome != v1alpha1.RequestAccepted {
			r.Status.CompletionTime = agop(age / 2)
		}
		return r
	}
	report := func(name string, age time.Duration, hits, misses int64) *v1alpha1.CacheRequest {
		r := request(name, age, v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, v1alpha1.RequestReportBuild, "", v1alpha1.RequestSucceeded, "")
		r.Spec.Build = &v1alpha1.BuildReport{Name: "default", Hits: hits, Misses: misses}
		return r
	}
	ci, goproxy := v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, v1alpha1.RequestTarget{Kind: "ModProxy", Name: "goproxy"}
	return []client.Object{
		cache, proxy, volume, intact,
		snapshotOf("ci-1", 26*time.Hour, v1alpha1.VerdictCorrupt, condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCorrupt, "2 entries are corrupt")),
		snapshotOf("ci-3", 2*time.Minute, "", condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonVerifying, "Verification runs"),
			condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonVerifying, "Verification runs")),
		claim("ci", "", "", "pv-ci", corev1.ClaimBound),
		claim("builder-0", "GoCache", "ci", "pv-1", corev1.ClaimBound),
		claim("builder-1", "GoCache", "ci", "", corev1.ClaimPending),
		claim("pinned", "CacheSnapshot", "ci-1", "pv-2", corev1.ClaimBound),
		claim("other", "GoCache", "another", "", corev1.ClaimPending),
		request("ci-warm-up-a", time.Minute, ci, v1alpha1.RequestWarmUp, "", v1alpha1.RequestAccepted, ""),
		request("ci-verify-b", 2*time.Hour, ci, v1alpha1.RequestCheckIntegrity, "", v1alpha1.RequestSucceeded, "Intact"),
		report("ci-report-build-d", 3*time.Hour, 200, 13), report("ci-report-build-e", 20*time.Minute, 213, 0),
		request("goproxy-failover-c", time.Hour, goproxy, v1alpha1.RequestFailover, "green", v1alpha1.RequestRefused, "instance green is not healthy"),
	}
}

func clientOf(objects ...client.Object) client.WithWatch {
	return fake.NewClientBuilder().WithScheme(scheme()).WithObjects(objects...).WithStatusSubresource(&v1alpha1.CacheRequest{}).Build()
}

func TestStatus(t *testing.T) {
	c := clientOf(world()...)
	for name, args := range map[string][]string{
		"status.txt":       {"status"},
		"status-wide.txt":  {"status", "goc/ci", "-o", "wide"},
		"status-proxy.txt": {"status", "modproxy/goproxy"},
		"status-all.txt":   {"status", "-A"},
		"status.json":      {"status", "ci", "-o", "json"},
		"status.yaml":      {"status", "modproxies/goproxy", "-o", "yaml"},
	} {
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		golden(t, name, out.String())
	}
	page, err := os.ReadFile("../../docs/operate/kubectl-plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := os.ReadFile("testdata/status.txt")
	if err != nil || !strings.Contains(string(page), "$ kubectl gocache status\n"+string(shown)+"```\n") {
		t.Errorf("docs/operate/kubectl-plugin.md does not show testdata/status.txt: %v", err)
	}
	a, out, _ := fakeApp(t, clientOf(), nil)
	if err := run(t, a, "status"); err != nil || !strings.Contains(out.String(), "No GoCaches") {
		t.Errorf("an empty namespace: %q, %v", out, err)
	}
	for _, args := range [][]string{{"status", "nosuch"}, {"status", "pod/ci"}, {"status", "ci", "-A"}, {"status", "-o", "xml"}, {"status", "modproxy/"}} {
		a, _, _ := fakeApp(t, c, nil)
		if err := run(t, a, args...); err == nil {
			t.Errorf("%v succeeded", args)
		}
	}
}

// TestStatusColors paints states where a terminal shows them.
func TestStatusColors(t *testing.T) {
	a, out, _ := fakeApp(t, clientOf(world()...), nil)
	a.color = true
	t.Setenv("TERM", "xterm")
	if err := run(t, a, "status"); err != nil || !strings.Contains(out.String(), "\x1b[31;1mCorrupt\x1b[0m") {
		t.Errorf("%q: %v", out, err)
	}
}

// TestStatusWithoutRights leaves out what the user may not read, and notes it.
func TestStatusWithoutRights(t *testing.T) {
	forbidden := func(o any) bool {
		switch o.(type) {
		case *corev1.PersistentVolume, *v1alpha1.CacheRequestList:
			return true
		}
		return false
	}
	refuse := func(resource string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", nil)
	}
	c := interceptor.NewClient(clientOf(world()...), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if forbidden(o) {
				return refuse("persistentvolumes")
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if forbidden(list) {
				return refuse("cacherequests")
			}
			return c.List(ctx, list, opts...)
		},
	})
	a, out, _ := fakeApp(t, c, nil)
	if err := run(t, a, "status", "ci"); err != nil {
		t.Fatal(err)
	}
	golden(t, "status-rights.txt", out.String())
}

// TestStatusWatch shows the status again when it has changed.
func TestStatusWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, out, _ := fakeApp(t, nil, nil)
	shown := 0
	err := a.watch(ctx, func(context.Context) (string, error) {
		shown++
		switch shown {
		case 1:
			return "one\n", nil
		default:
			cancel()
			return "", ctx.Err()
		}
	})
	if err != nil || out.String() != "one\n" || shown != 2 {
		t.Errorf("%d times, %q: %v", shown, out, err)
	}
}

func TestEnv(t *testing.T) {
	labels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
	published := func(name string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, Labels: labels}, Data: data}
	}
	foreign := published("foreign-env", map[string]string{"A": "b"})
	c := clientOf(
		&v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}, &v1alpha1.GoCache{ObjectMeta: meta("new", time.Hour)},
		published("ci-env", map[string]string{"GOPROXY": "http://p|it's", "GOMODCACHE": "/gocache/mod"}),
		published("ci-env-offline", map[string]string{"GOPROXY": "off"}),
		foreign,
	)
	for want, args := range map[string][]string{
		"export GOMODCACHE='/gocache/mod'\nexport GOPROXY='http://p|it'\\''s'\n": {"env", "ci"},
		"set -gx GOMODCACHE '/gocache/mod'\nset -gx GOPROXY 'http://p|it\\'s'\n": {"env", "ci", "--shell", "fish"},
		"$Env:GOMODCACHE = '/gocache/mod'\n$Env:GOPROXY = 'http://p|it''s'\n":    {"env", "ci", "--shell", "powershell"},
		"GOPROXY=off\n": {"env", "gocache/ci", "--offline", "--shell", "dotenv"},
	} {
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, args...); err != nil || out.String() != want {
			t.Errorf("%v: %q, want %q: %v", args, out, want, err)
		}
	}
	for _, args := range [][]string{{"env", "new"}, {"env", "nosuch"}, {"env", "foreign"}, {"env", "ci", "--shell", "csh"}, {"env", "modproxy/ci"}} {
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, args...); err == nil || out.Len() > 0 {
			t.Errorf("%v printed %q: %v", args, out, err)
		}
	}
}

// TestExportRefuses prints nothing that a shell would run.
func TestExportRefuses(t *testing.T) {
	for _, data := range []map[string]string{{"A;rm": "x"}, {"1A": "x"}, {"A-B": "x"}, {}} {
		a, out, _ := fakeApp(t, nil, nil)
		if err := a.export(data, shells["sh"]); err == nil || out.Len() > 0 {
			t.Errorf("%v printed %q: %v", data, out, err)
		}
	}
	if _, err := shells["dotenv"]("A", "b\nC=d"); err == nil {
		t.Error("a line break in a format of lines")
	}
}

func TestRequests(t *testing.T) {
	for line, want := range map[string]v1alpha1.CacheRequestSpec{
		"warm-up ci":              {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestWarmUp},
		"verify ci":               {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestCheckIntegrity},
		"verify modproxy/goproxy": {TargetRef: v1alpha1.RequestTarget{Kind: "ModProxy", Name: "goproxy"}, Action: v1alpha1.RequestCheckIntegrity},
		"snapshot ci":             {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestSnapshot},
		"rollback ci":             {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestRollback},
		"rollback ci ci-2":        {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestRollback, Argument: "ci-2"},
		"cleanup ci":              {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestCleanup},
		"approve ci sha256:1":     {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestApproveCleanup, Argument: "sha256:1"},
		"report-failure ci":       {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestReportFailure},
		"report-build ci --build billing/test --hits 213 --misses 4": {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestReportBuild, Build: &v1alpha1.BuildReport{Name: "billing/test", Hits: 213, Misses: 4}},
		"report-build ci --hits 0 --misses 0":                        {TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestReportBuild, Build: &v1alpha1.BuildReport{}},
		"failover goproxy green":                                     {TargetRef: v1alpha1.RequestTarget{Kind: "ModProxy", Name: "goproxy"}, Action: v1alpha1.RequestFailover, Argument: "green"},
		"failback mproxy/goproxy":                                    {TargetRef: v1alpha1.RequestTarget{Kind: "ModProxy", Name: "goproxy"}, Action: v1alpha1.RequestFailback},
		"reinstate goproxy blue":                                     {TargetRef: v1alpha1.RequestTarget{Kind: "ModProxy", Name: "goproxy"}, Action: v1alpha1.RequestReinstate, Argument: "blue"},
	} {
		c := clientOf()
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var all v1alpha1.CacheRequestList
		if err := c.List(t.Context(), &all); err != nil || len(all.Items) != 1 {
			t.Fatalf("%s: %d requests, %v", line, len(all.Items), err)
		}
		got := all.Items[0]
		if diff := cmp.Diff(want, got.Spec); diff != "" || got.Namespace != "ci" {
			t.Errorf("%s:\n%s", line, diff)
		}
		if want := "cacherequest.cache.gocache.dev/" + got.Name + " created\n"; out.String() != want {
			t.Errorf("%s printed %q, want %q", line, out, want)
		}
	}
}

// TestEveryActionHasACommand fails for an action of the API that no command
// requests.
func TestEveryActionHasACommand(t *testing.T) {
	commands := map[v1alpha1.RequestAction]bool{}
	for _, v := range requestCommands {
		commands[v.action] = true
	}
	for _, action := range []v1alpha1.RequestAction{
		v1alpha1.RequestWarmUp, v1alpha1.RequestCheckIntegrity, v1alpha1.RequestCleanup, v1alpha1.RequestApproveCleanup, v1alpha1.RequestSnapshot,
		v1alpha1.RequestRollback, v1alpha1.RequestReportFailure, v1alpha1.RequestReportBuild, v1alpha1.RequestFailover, v1alpha1.RequestFailback, v1alpha1.RequestReinstate,
	} {
		if !commands[action] {
			t.Errorf("no command requests %s", action)
		}
	}
}

func TestRequestRefuses(t *testing.T) {
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:abc", Open: true, Entries: 7, Bytes: 4096, Time: ago(time.Hour)}}
	proxy := &v1alpha1.ModProxy{ObjectMeta: meta("goproxy", time.Hour)}
	proxy.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue"}, {Name: "green"}}
	c := clientOf(cache, &v1alpha1.GoCache{ObjectMeta: meta("idle", time.Hour)}, proxy)
	for line, want := range map[string]string{
		"approve ci":               "kubectl gocache approve ci sha256:abc -n ci",
		"approve idle":             "no cleanup plan",
		"failover goproxy":         "blue, green",
		"warm-up modproxy/goproxy": "want NAME of a GoCache",
		"failover gocache/ci blue": "want NAME of a ModProxy",
		"warm-up ci extra":         "accepts",
		"warm-up ci --dry-run=yes": "want none, client or server",
	} {
		a, _, _ := fakeApp(t, c, nil)
		if err := run(t, a, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	var all v1alpha1.CacheRequestList
	if err := c.List(t.Context(), &all); err != nil || len(all.Items) > 0 {
		t.Errorf("%d requests were created: %v", len(all.Items), err)
	}
}

func TestDryRun(t *testing.T) {
	c := clientOf()
	a, out, _ := fakeApp(t, c, nil)
	if err := run(t, a, "rollback", "ci", "ci-2", "--dry-run=client", "-o", "yaml", "--wait"); err != nil {
		t.Fatal(err)
	}
	golden(t, "dry-run.yaml", out.String())
	var all v1alpha1.CacheRequestList
	if err := c.List(t.Context(), &all); err != nil || len(all.Items) > 0 {
		t.Errorf("%d requests were created: %v", len(all.Items), err)
	}
}

// TestWait follows a request to its outcome.
func TestWait(t *testing.T) {
	for outcome, fails := range map[v1alpha1.RequestOutcome]bool{v1alpha1.RequestSucceeded: false, v1alpha1.RequestFailed: true, v1alpha1.RequestRefused: true} {
		reads := 0
		c := interceptor.NewClient(clientOf(), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				reads++
				if reads == 2 {
					return apierrors.NewServiceUnavailable("busy")
				}
				if err := c.Get(ctx, key, o, opts...); err != nil {
					return err
				}
				r, ok := o.(*v1alpha1.CacheRequest)
				if ok && reads > 2 {
					r.Status.Outcome, r.Status.Message = v1alpha1.RequestAccepted, "Job ci-writer runs"
				}
				if ok && reads > 3 {
					r.Status.Outcome, r.Status.Message, r.Status.CompletionTime = outcome, "done", agop(0)
				}
				return nil
			},
		})
		a, _, errOut := fakeApp(t, c, nil)
		err := run(t, a, "warm-up", "ci", "--wait")
		if (err != nil) != fails {
			t.Errorf("%s: %v", outcome, err)
		}
		if want := "Waiting\nAccepted: Job ci-writer runs\n" + string(outcome) + ": done\n"; errOut.String() != want {
			t.Errorf("%s: %q, want %q", outcome, errOut, want)
		}
	}
	a, _, _ := fakeApp(t, clientOf(), nil)
	if err := run(t, a, "warm-up", "ci", "--wait", "--timeout", "20ms"); err == nil || !strings.Contains(err.Error(), "is not finished after 20ms") {
		t.Errorf("a request that nothing works on: %v", err)
	}
}

func TestLogs(t *testing.T) {
	job := func(name, label, of, action string, age time.Duration, done bool) *batchv1.Job {
		j := &batchv1.Job{ObjectMeta: meta(name, age)}
		j.Labels = map[string]string{label: of, v1alpha1.ActionLabel: action}
		if done {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		}
		return j
	}
	pod := func(name string, age time.Duration, labels map[string]string, states ...corev1.ContainerStatus) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: meta(name, age)}
		p.Labels = labels
		p.Spec.InitContainers = []corev1.Container{{Name: "fetch"}, {Name: "agent", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
		p.Spec.Containers = []corev1.Container{{Name: "main"}}
		p.Status.InitContainerStatuses = states
		return p
	}
	ofJob := func(name string) map[string]string { return map[string]string{batchv1.JobNameLabel: name} }
	ofInstance := func(name string) map[string]string {
		return map[string]string{v1alpha1.ProxyLabel: "goproxy", v1alpha1.InstanceLabel: name}
	}
	terminated := corev1.ContainerStatus{Name: "fetch", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}
	fetching := corev1.ContainerStatus{Name: "fetch", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	sidecar := corev1.ContainerStatus{Name: "agent", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	objects := append(world(),
		job("ci-old", v1alpha1.CacheLabel, "ci", "integrity", time.Minute, true), job("ci-writer", v1alpha1.CacheLabel, "ci", "warm-up", time.Hour, false),
		pod("ci-writer-1", 50*time.Minute, ofJob("ci-writer"), terminated), pod("ci-writer-2", 10*time.Minute, ofJob("ci-writer"), fetching),
		job("ci-3-verify", v1alpha1.SnapshotLabel, "ci-3", "verification", time.Minute, true), pod("ci-3-verify-1", time.Minute, ofJob("ci-3-verify"), terminated),
		pod("goproxy-blue-0", time.Hour, ofInstance("blue"), sidecar), pod("goproxy-green-0", time.Hour, ofInstance("green")),
		&v1alpha1.GoCache{ObjectMeta: meta("idle", time.Hour)},
	)
	c := clientOf(objects...)
	for line, want := range map[string]string{
		"logs ci":                         "Job ci-writer (warm-up): pod ci-writer-2, container fetch\n",
		"logs cachesnapshot/ci-3":         "Job ci-3-verify (verification): pod ci-3-verify-1, container fetch\n",
		"logs modproxy/goproxy":           "instance blue: pod goproxy-blue-0, container main\n",
		"logs modproxy/goproxy green":     "instance green: pod goproxy-green-0, container main\n",
		"logs ci --container x --tail=10": "Job ci-writer (warm-up): pod ci-writer-2, container x\n",
	} {
		a, out, errOut := fakeApp(t, c, clientsetfake.NewClientset())
		if err := run(t, a, strings.Fields(line)...); err != nil || errOut.String() != want || out.String() != "fake logs" {
			t.Errorf("%s: %q, %q, want %q: %v", line, errOut, out, want, err)
		}
	}
	for line, want := range map[string]string{
		"logs idle":                    "has no Job now",
		"logs nosuch":                  "not found",
		"logs modproxy/goproxy purple": "instances: blue, green",
		"logs ci blue":                 "only a modproxy has instances",
	} {
		a, _, _ := fakeApp(t, c, clientsetfake.NewClientset())
		if err := run(t, a, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestCompletion completes as kubectl has the plugin do it, whichever shell asks, and
// as the scripts for the four shells have the program do it.
func TestCompletion(t *testing.T) {
	c := clientOf(completed()...)
	complete := func(name string, line ...string) string {
		t.Helper()
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, Args(append([]string{"/usr/local/bin/" + name}, line...))...); err != nil {
			t.Errorf("%v: %v", line, err)
		}
		return out.String()
	}
	for line, want := range map[string]string{
		"status ":                "ci modproxy/goproxy :4",
		"warm-up ":               "ci :4",
		"failover ":              "goproxy :4",
		"failover goproxy":       "goproxy :4",
		"failover goproxy ":      "blue green :4",
		"reinstate goproxy ":     "blue green :4",
		"logs modproxy/goproxy ": "blue green :4",
		"logs ci ":               ":4",
		"rollback ci ":           "ci-1 ci-2 ci-3 :4",
		"approve ci ":            "sha256:1234 :4",
		"warm-up ci ":            ":4",
		"csicheck ":              "fast :4",
		"logs ":                  "ci modproxy/goproxy cachesnapshot/ci-1 cachesnapshot/ci-2 cachesnapshot/ci-3 :4",
		"diff ":                  "ci-1 ci-2 ci-3 :4",
		"diff ci-1 ":             "ci-1 ci-2 ci-3 :4",
		"diff ci-1 ci-2 ":        ":4",
		"status --wat":           "--watch show it again when it has changed, until interrupted :4",
	} {
		words := strings.Split(line, " ")
		if got := strings.Join(strings.Fields(complete("kubectl_complete-gocache", words...)), " "); got != want {
			t.Errorf("%q is completed by %q, want %q", line, got, want)
		}
	}
	if got := complete("kubectl_complete-gocache", "fail"); !strings.Contains(got, "failback\t") || !strings.Contains(got, "failover\t") {
		t.Errorf("commands: %q", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := complete("kubectl-gocache", "completion", shell); !strings.Contains(script, cobra.ShellCompRequestCmd) {
			t.Errorf("the script for %s does not ask the program:\n%s", shell, script)
		}
	}
}

// TestStatusOfAPool shows how many volumes are ready, and why not all are.
func TestStatusOfAPool(t *testing.T) {
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	cache.Status.Pool = &v1alpha1.PoolStatus{Size: 4, Ready: 1}
	cache.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.PoolFilledCondition, metav1.ConditionFalse, v1alpha1.ReasonPoolRefused, "1 of 4 volumes are ready. It is tried again: exceeded quota")}
	a, out, _ := fakeApp(t, clientOf(cache), nil)
	if err := run(t, a, "status"); err != nil || !strings.Contains(out.String(), "Pool/ci") || !strings.Contains(out.String(), "1/4") || !strings.Contains(out.String(), "exceeded quota") {
		t.Errorf("%v\n%s", err, out)
	}
}
