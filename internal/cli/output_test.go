package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/csicheck"
	"gocache.dev/operator/internal/cli/diff"
	"gocache.dev/operator/internal/cli/doctor"
	"gocache.dev/operator/internal/cli/status"
	"gocache.dev/operator/internal/domain/manifest"
)

// TestIdentifiers holds which names a shell accepts for a variable.
func TestIdentifiers(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "z": true, "A": true, "Z": true, "_": true, "a0": true, "a9": true, "GOFLAGS": true, "_1": true,
		"": false, "0": false, "9a": false, "a-b": false, "a b": false, "a;": false, "a/": false, "a:": false, "@": false, "[": false, "`": false, "{": false, "ä": false,
	} {
		if got := identifier(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestPowerShell holds that no value ends a string of PowerShell, which takes five marks for
// a single quote.
func TestPowerShell(t *testing.T) {
	got, err := shells["powershell"]("A", "'; \u2018; \u2019; \u201a; \u201b; \u201c$(x)")
	if want := "$Env:A = '''; \u2018\u2018; \u2019\u2019; \u201a\u201a; \u201b\u201b; \u201c$(x)'"; err != nil || got != want {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
}

// TestEnvErrors holds what is not printed as an environment: what is not the operator's, and
// what cannot be read or written.
func TestEnvErrors(t *testing.T) {
	published := func(name, managed, cache string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: managed, v1alpha1.CacheLabel: cache}}, Data: map[string]string{"A": "b\nc"}}
	}
	c := clientOf(published("a-env", v1alpha1.ManagedByValue, "b"), published("b-env", "another", "b"), published("c-env", v1alpha1.ManagedByValue, "c"))
	for line, want := range map[string]string{
		"env a": "ConfigMap a-env is not the operator's", "env b": "ConfigMap b-env is not the operator's", "env c --shell dotenv": "variable A has a line break",
		"env c --shell none": `--shell "none": want one of dotenv, fish, powershell, sh`,
	} {
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: %v, printed %q", line, err, out)
		}
	}
	a, _, _ := fakeApp(t, c, nil)
	a.Out = full{}
	if err := run(t, a, "env", "c"); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	a, _, _ = fakeApp(t, reading[*corev1.ConfigMap](c, errBroken), nil)
	if err := run(t, a, "env", "c"); !errors.Is(err, errBroken) {
		t.Errorf("a ConfigMap that cannot be read: %v", err)
	}
}

// TestCompletionErrors holds that nothing is proposed where the cluster cannot be read, and
// what follows an argument that there is.
func TestCompletionErrors(t *testing.T) {
	closed := &v1alpha1.GoCache{ObjectMeta: meta("closed", time.Hour)}
	closed.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:1"}}
	unplanned := &v1alpha1.GoCache{ObjectMeta: meta("unplanned", time.Hour)}
	unplanned.Status.Cleanup = &v1alpha1.CleanupStatus{}
	plain := &v1alpha1.GoCache{ObjectMeta: meta("plain", time.Hour)}
	c := clientOf(append(completed(), closed, unplanned, plain)...)
	complete := func(c client.WithWatch, line string) string {
		t.Helper()
		a, out, _ := fakeApp(t, c, nil)
		if err := run(t, a, append([]string{cobra.ShellCompRequestCmd}, strings.Split(line, " ")...)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return strings.Join(strings.Fields(out.String()), " ")
	}
	for line, want := range map[string]string{
		"approve closed ": ":4", "approve unplanned ": ":4", "approve plain ": ":4", "approve nosuch ": ":1", "approve pod/ci ": ":1", "approve ci sha256:1 ": ":4",
		"csicheck fast ": ":4", "rollback another ": ":4", "rollback pod/x ": ":1", "failover gocache/ci ": ":4", "failover nosuch ": ":1", "failover pod/x ": ":1", "logs cachesnapshot/ci-1 ": ":4",
		"logs modproxy/nosuch ": ":1", "diff ci-1 ": "ci-1 ci-2 ci-3 :4",
	} {
		if got := complete(c, line); got != want {
			t.Errorf("%q is completed by %q, want %q", line, got, want)
		}
	}
	for line, broken := range map[string]client.WithWatch{
		"status ": listing[*v1alpha1.ModProxyList](c), "warm-up ": listing[*v1alpha1.GoCacheList](c), "csicheck ": listing[*storagev1.StorageClassList](c),
		"rollback ci ": listing[*v1alpha1.CacheSnapshotList](c), "diff ": listing[*v1alpha1.CacheSnapshotList](c),
	} {
		if got := complete(broken, line); got != ":1" {
			t.Errorf("%q is completed by %q", line, got)
		}
	}
	a, out, _ := fakeApp(t, c, nil)
	a.client = func() (client.Client, error) { return nil, errBroken }
	if err := run(t, a, cobra.ShellCompRequestCmd, "status", ""); err != nil || strings.TrimSpace(out.String()) != ":1" {
		t.Errorf("without a cluster: %q, %v", out, err)
	}
	for _, argv := range [][]string{{"/x/kubectl_complete-gocache", "a", "b"}, {"kubectl-gocache", "a", "b"}} {
		want := "a b"
		if strings.Contains(argv[0], "complete") {
			want = cobra.ShellCompRequestCmd + " a b"
		}
		if got := strings.Join(Args(argv), " "); got != want {
			t.Errorf("%q: %q", argv, got)
		}
	}
}

// TestShownChanges holds which changes of a comparison are shown, how many of each kind, and
// that names cannot drive a terminal.
func TestShownChanges(t *testing.T) {
	all := []manifest.Change{
		{Kind: manifest.Added, Key: "m a@v1.0.0"}, {Kind: manifest.Added, Key: "s b\x1b[2J\x7f@v1.0.0"}, {Kind: manifest.Added, Key: "m c@v1.0.0"},
		{Kind: manifest.Added, Key: "a 01"}, {Kind: manifest.Changed, Key: "d 02"}, {Kind: manifest.Changed, Key: "a 03"}, {Kind: manifest.Removed, Key: "m d@v1.0.0"}, {Kind: manifest.Rebuilt, Key: "a 04"}, {Kind: manifest.Rebuilt, Key: "a 05"},
	}
	counts := map[manifest.ChangeKind]int{}
	for _, c := range all {
		counts[c.Kind]++
	}
	const b = "built again with another output: 0 modules, 2 entries of the build cache\n"
	for name, tt := range map[string]struct {
		limit   int
		entries bool
		want    string
	}{
		"all": {100, true, "other content under the same name: 0 modules, 2 entries of the build cache\n  output 02\n  action 03\nremoved: 1 module, 0 entries of the build cache\n  module d@v1.0.0\n" +
			"added: 3 modules, 1 entry of the build cache\n  module a@v1.0.0\n  module b?[2J?@v1.0.0\n  module c@v1.0.0\n  action 01\n" + b + "  action 04\n  action 05\n"},
		"modules": {2, false, "other content under the same name: 0 modules, 2 entries of the build cache\n  output 02\n  action 03\nremoved: 1 module, 0 entries of the build cache\n  module d@v1.0.0\n" +
			"added: 3 modules, 1 entry of the build cache\n  module a@v1.0.0\n  module b?[2J?@v1.0.0\n  and 1 more (--limit shows more)\n" + b},
		"one of each": {1, true, "other content under the same name: 0 modules, 2 entries of the build cache\n  output 02\n  and 1 more (--limit shows more)\nremoved: 1 module, 0 entries of the build cache\n  module d@v1.0.0\n" +
			"added: 3 modules, 1 entry of the build cache\n  module a@v1.0.0\n  and 3 more (--limit shows more)\n" + b + "  action 04\n  and 1 more (--limit shows more)\n"},
	} {
		shown := changes{limit: tt.limit, entries: tt.entries, lines: map[manifest.ChangeKind][]string{}}
		for _, c := range all {
			if err := shown.add(c); err != nil {
				t.Error(err)
			}
		}
		r := diff.Result{Comparison: manifest.Comparison{To: "sha256:2", Counts: counts}}
		if got := (&app{}).renderDiff(r, &shown); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
	for checked, want := range map[bool]string{true: "The same content: sha256:2\n", false: "Their manifests list the same content: sha256:2\n"} {
		if got := (&app{}).renderDiff(diff.Result{Comparison: manifest.Comparison{To: "sha256:2"}, Checked: checked}, &changes{}); got != want {
			t.Errorf("%q", got)
		}
	}
}

// TestDiffCommandErrors holds which formats a comparison has, and that it fails where its
// result cannot be written.
func TestDiffCommandErrors(t *testing.T) {
	a, _, _ := working(t, play(snapshots()...))
	if err := run(t, a, "diff", "ci-2", "ci-3", "-o", "yaml"); err == nil || err.Error() != `--output "yaml": want json` {
		t.Errorf("%v", err)
	}
	for _, output := range []string{"", "json"} {
		p := play(append(snapshots(), installed())...)
		p.message = `{"from":"sha256:1","to":"sha256:2","counts":{"added":6}}`
		a, _, _ := working(t, p)
		a.Out = full{}
		a.logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(changeLines)), nil
		}
		if err := run(t, a, "diff", "ci-1", "ci-2", "-o", output); !errors.Is(err, errFull) {
			t.Errorf("%q: %v", output, err)
		}
	}
	// Only other content under the same name is an error.
	p := play(append(snapshots(), installed())...)
	p.message = `{"from":"sha256:1","to":"sha256:2","counts":{"added":6}}`
	a, _, _ = working(t, p)
	a.logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(changeLines)), nil
	}
	if err := run(t, a, "diff", "ci-1", "ci-2"); err != nil {
		t.Errorf("added alone: %v", err)
	}
}

// TestCSICheckCommand holds the bounds of its flags, that objects can be kept, and how its
// report is written.
func TestCSICheckCommand(t *testing.T) {
	for line, want := range map[string]string{
		"csicheck fast --size x": "--size", "csicheck fast --size 0": "--size", "csicheck fast --size -1Gi": "--size", "csicheck fast --timeout 999ms": "--timeout 999ms: want a second or more",
	} {
		a, _, _ := working(t, play(append(storageClass(), installed())...))
		if err := run(t, a, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	p := play(storageClass()...)
	a, out, _ := working(t, p)
	if err := run(t, a, "csicheck", "fast", "--timeout", "1s", "--keep", "--image", "operator:2", "-o", "json"); err != nil || !strings.HasPrefix(out.String(), "{\n  \"storageClass\": \"fast\",") || !strings.HasSuffix(out.String(), "}\n") {
		t.Errorf("%v, %q", err, out)
	}
	if left := p.left(t); len(left) != 8 {
		t.Errorf("kept are %v", left)
	}
	p = play(append(storageClass(), installed())...)
	a, _, _ = working(t, p)
	a.Out = full{}
	if err := run(t, a, "csicheck", "fast"); !errors.Is(err, errFull) || len(p.left(t)) > 0 {
		t.Errorf("an output that takes nothing: %v, left %v", err, p.left(t))
	}
	r := csicheck.Report{StorageClass: "fast", Driver: "d", Checks: []csicheck.Check{{Name: "provision", Level: status.LevelOK, Seconds: 0.1, Message: "m"}, {Name: "expand", Level: status.LevelWarning, Message: "n", Fix: "do"}}}
	text, err := (&app{}).renderCSICheck(r, "")
	if lines := strings.Split(text, "\n"); err != nil || len(lines) != 6 || lines[0] != "StorageClass fast, driver d" || strings.Join(strings.Fields(lines[2]), " ") != "✓ provision 0.1s m" ||
		strings.Join(strings.Fields(lines[3]), " ") != "⚠ expand n" || strings.TrimSpace(lines[4]) != "do" {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestDoctorErrors holds that what cannot be examined is a finding, and that without a
// cluster or an output there is an error.
func TestDoctorErrors(t *testing.T) {
	a, _, _ := fakeApp(t, answering(nil, healthy()...), clusterOf(t, "v1.36.0", served...))
	a.Out = full{}
	if err := run(t, a, "doctor"); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	a, out, errOut := fakeApp(t, listing[*storagev1.StorageClassList](answering(nil, healthy()...)), clusterOf(t, "v1.36.0", served...))
	if err := run(t, a, "doctor"); !errors.Is(err, ErrReported) || errOut.Len() > 0 || !strings.Contains(out.String(), "\nStorage\n  ✗ not all of this can be examined: the server is down\n") || !strings.Contains(out.String(), "✓ there are none") {
		t.Errorf("classes that cannot be read: %v, printed %q\n%s", err, errOut, out)
	}
	a.clientset = func() (kubernetes.Interface, error) { return nil, errBroken }
	if err := run(t, a, "doctor"); !errors.Is(err, errBroken) {
		t.Errorf("no cluster: %v", err)
	}
	text, err := (&app{}).renderDoctor(doctor.Report{Sections: []doctor.Section{{Name: "A", Findings: []doctor.Finding{{Level: status.LevelOK, Message: "m"}}}, {Name: "B", Findings: []doctor.Finding{{Level: status.LevelFailure, Message: "n", Fix: "do"}}}}}, "")
	if want := "A\n  ✓ m\n\nB\n  ✗ n\n      do\n"; err != nil || text != want {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestStatusErrors holds that a status that cannot be read or written is an error.
func TestStatusErrors(t *testing.T) {
	a, _, _ := fakeApp(t, clientOf(world()...), nil)
	a.Out = full{}
	for _, args := range []string{"status", "status --watch"} {
		if err := run(t, a, strings.Fields(args)...); !errors.Is(err, errFull) {
			t.Errorf("%s: an output that takes nothing: %v", args, err)
		}
	}
	a, out, _ := fakeApp(t, listing[*v1alpha1.GoCacheList](clientOf(world()...)), nil)
	if err := run(t, a, "status"); !errors.Is(err, errBroken) || out.Len() > 0 {
		t.Errorf("caches that cannot be read: %v, printed %q", err, out)
	}
	long := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	long.Status.Conditions = []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, "A", strings.Repeat("x", 81))}
	exact := &v1alpha1.GoCache{ObjectMeta: meta("exact", time.Hour)}
	exact.Status.Conditions = []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, "A", strings.Repeat("y", 80))}
	for output, want := range map[string]string{"": strings.Repeat("x", 79) + "…\n", "wide": strings.Repeat("x", 81) + "\n"} {
		a, out, _ := fakeApp(t, clientOf(long, exact), nil)
		if err := run(t, a, "status", "-o", output); err != nil || !strings.Contains(out.String(), " "+want) || !strings.Contains(out.String(), " "+strings.Repeat("y", 80)+"\n") {
			t.Errorf("%q: %v\n%s", output, err, out)
		}
	}
}

// TestKnownFormats holds which formats there are, and how they are listed.
func TestKnownFormats(t *testing.T) {
	for _, tt := range []struct {
		output string
		more   []string
		want   string
	}{
		{"", nil, ""}, {"json", nil, ""}, {"yaml", nil, ""}, {"wide", []string{"wide"}, ""}, {"wide", nil, `--output "wide": want json or yaml`}, {"xml", []string{"wide"}, `--output "xml": want json, yaml or wide`},
	} {
		got := ""
		if err := knownFormat(tt.output, tt.more...); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.output, got, tt.want)
		}
	}
	for output, want := range map[string]string{"json": "[\n  1\n]\n", "yaml": "- 1\n"} {
		if shown, ok, err := encoded(output, []int{1}); err != nil || !ok || shown != want {
			t.Errorf("%s: %q, %t, %v", output, shown, ok, err)
		}
		if _, ok, err := encoded(output, func() {}); err == nil || !ok {
			t.Errorf("%s of what cannot be written: %t, %v", output, ok, err)
		}
	}
	if _, ok, err := encoded("wide", func() {}); ok || err != nil {
		t.Errorf("%t, %v", ok, err)
	}
	if f, err := os.Create(filepath.Join(t.TempDir(), "file")); err != nil || terminal(f) || terminal(full{}) {
		t.Errorf("a file is a terminal: %v", err)
	}
}

// TestWhyColdInputs holds how much is read of the output of a go command, and from where.
func TestWhyColdInputs(t *testing.T) {
	const same = `{"GOVERSION": "go1.26.8", "GOOS": "linux", "GOARCH": "amd64", "GOMODCACHE": "/gocache/mod", "CGO_ENABLED": "1", "GOAMD64": "v1", "GOFLAGS": ""}`
	file := filepath.Join(t.TempDir(), "env.json")
	if err := os.WriteFile(file, []byte(same), 0o600); err != nil {
		t.Fatal(err)
	}
	a, out, _ := fakeApp(t, clientOf(warmedCache()...), nil)
	if err := run(t, a, "why-cold", "ci", "--go-env", file); err != nil || !strings.HasPrefix(out.String(), "GoCache ci, CacheSnapshot ci-2, warmed by go1.26.8 for linux/amd64\n") {
		t.Errorf("a file: %v, %s", err, out)
	}
	for before, works := range map[int]bool{maxGoEnv - len(same): true, maxGoEnv - len(same) + 1: false} {
		a, _, _ := fakeApp(t, clientOf(warmedCache()...), nil)
		a.In = strings.NewReader(strings.Repeat(" ", before) + same)
		if err := run(t, a, "why-cold", "ci", "--go-env", "-"); (err == nil) != works {
			t.Errorf("after %d bytes: %v", before, err)
		}
	}
	if maxGoEnv != 1<<20 {
		t.Errorf("%d bytes are read", maxGoEnv)
	}
	a, _, _ = fakeApp(t, clientOf(warmedCache()...), nil)
	a.In, a.Out = strings.NewReader(same), full{}
	if err := run(t, a, "why-cold", "ci", "--go-env", "-"); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	a, _, _ = fakeApp(t, clientOf(warmedCache()...), nil)
	a.client = func() (client.Client, error) { return nil, errBroken }
	a.In = strings.NewReader(same)
	if err := run(t, a, "why-cold", "ci", "--go-env", "-"); !errors.Is(err, errBroken) {
		t.Errorf("no cluster: %v", err)
	}
	a.In = strings.NewReader(same)
	if err := run(t, a, "why-cold", "modproxy/p", "--go-env", "-"); err == nil || !strings.Contains(err.Error(), "want NAME of a GoCache") {
		t.Errorf("a proxy: %v", err)
	}
}

// TestWarmedBy holds by which record it is decided how a cache was warmed, and what may be
// missing of it.
func TestWarmedBy(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	all := warmedCache()
	source := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "caches", Name: "ci"}}
	source.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Name: "theirs"}}}
	bare := &v1alpha1.GoCache{ObjectMeta: meta("bare", time.Hour)}
	bare.Status.Toolchain = &v1alpha1.ToolchainRecord{Version: "go1.25.0", Platform: "linux/arm64"}
	empty := &v1alpha1.GoCache{ObjectMeta: meta("empty", time.Hour)}
	empty.Spec.Source, empty.Status.Source = &v1alpha1.CacheSource{Namespace: "caches", Name: "ci"}, &v1alpha1.CacheSourceStatus{}
	unknown := &v1alpha1.GoCache{ObjectMeta: meta("unknown", time.Hour)}
	unknown.Spec.Source = empty.Spec.Source
	recordless := &v1alpha1.CacheSnapshot{ObjectMeta: meta("recordless", time.Hour)}
	recordless.Status.Source = &v1alpha1.SourceRecord{}
	later := bare.DeepCopy()
	later.Name, later.Status.LatestVerifiedSnapshot = "later", "recordless"
	gone := bare.DeepCopy()
	gone.Name, gone.Status.LatestVerifiedSnapshot = "gone", "nosuch"
	all = append(all, source, bare, empty, unknown, recordless, later, gone)
	names := func(w warmth) string {
		var names []string
		for _, v := range w.builds {
			names = append(names, v.name)
		}
		return w.cache + " " + w.snapshot + " " + w.base.Release + " " + strings.Join(names, ",")
	}
	cacheOfSource := func(err error) client.WithWatch {
		c := clientOf(all...)
		return failingFor(c, client.ObjectKey{Namespace: "caches", Name: "ci"}, err)
	}
	for name, tt := range map[string]struct {
		c      client.WithWatch
		cache  string
		want   string
		failed string
	}{
		"by its snapshot":             {clientOf(all...), "ci", "ci ci-2 go1.26.8 billing/test,billing/release,billing/race,modules", ""},
		"a snapshot not readable":     {reading[*v1alpha1.CacheSnapshot](clientOf(all...), forbidden), "ci", "ci ci-2 go1.27.0 billing/test,billing/release,billing/race,modules", ""},
		"a snapshot without a record": {clientOf(all...), "later", "later recordless go1.25.0 default", ""},
		"a snapshot that is gone":     {clientOf(all...), "gone", "gone nosuch go1.25.0 default", ""},
		"a snapshot not read":         {reading[*v1alpha1.CacheSnapshot](clientOf(all...), errBroken), "ci", "", errBroken.Error()},
		"without a snapshot":          {clientOf(all...), "bare", "bare  go1.25.0 default", ""},
		"shared":                      {clientOf(all...), "shared", "caches/ci ci-7 go1.26.8 theirs", ""},
		"shared, not readable":        {cacheOfSource(forbidden), "shared", "caches/ci ci-7 go1.26.8 default", ""},
		"shared, gone":                {cacheOfSource(apierrors.NewNotFound(schema.GroupResource{}, "ci")), "shared", "caches/ci ci-7 go1.26.8 default", ""},
		"shared, not read":            {cacheOfSource(errBroken), "shared", "", errBroken.Error()},
		"shared, without content":     {clientOf(all...), "empty", "", "GoCache empty has no content yet"},
		"shared, not reported":        {clientOf(all...), "unknown", "", "GoCache unknown has no content yet"},
	} {
		w, err := warmedBy(t.Context(), tt.c, client.ObjectKey{Namespace: "ci", Name: tt.cache})
		if (err == nil) != (tt.failed == "") || err != nil && !strings.Contains(err.Error(), tt.failed) || err == nil && names(w) != tt.want {
			t.Errorf("%s: %q, %v, want %q, %q", name, names(w), err, tt.want, tt.failed)
		}
	}
	if b := recorded(&v1alpha1.ToolchainRecord{Version: "go1.26.8", Platform: "linux/arm64"}); b.ModuleCache != "" || b.Inputs["GOOS"] != "linux" || b.Inputs["GOARCH"] != "arm64" {
		t.Errorf("%+v", b)
	}
	if b := recorded(&v1alpha1.ToolchainRecord{MountPath: "/gocache"}); b.ModuleCache != "/gocache/mod" {
		t.Errorf("%+v", b)
	}
}

// failingFor fails to read a GoCache of this key.
func failingFor(c client.WithWatch, key client.ObjectKey, err error) client.WithWatch {
	return keyed{c, key, err}
}

type keyed struct {
	client.WithWatch
	key client.ObjectKey
	err error
}

func (k keyed) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if key == k.key {
		return k.err
	}
	return k.WithWatch.Get(ctx, key, o, opts...)
}

// TestVariants holds the names of the builds of a cache, and which of them the last warm-up
// could not make.
func TestVariants(t *testing.T) {
	c := &v1alpha1.GoCache{}
	c.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{
		{ConfigMapRef: &v1alpha1.LocalReference{Name: "modules"}}, {Git: &v1alpha1.GitSource{URL: "https://git.test/team/app.git"}}, {Name: "named", Builds: []v1alpha1.SourceBuild{{Name: "a"}, {Name: "b"}}},
	}}
	shown := func() string {
		var all []string
		for _, v := range variants(c, recorded(&v1alpha1.ToolchainRecord{})) {
			name := v.name
			if v.failed {
				name += " failed"
			}
			all = append(all, name)
		}
		return strings.Join(all, ", ")
	}
	if got := shown(); got != "modules, app, named/a, named/b" {
		t.Errorf("nothing reported: %s", got)
	}
	c.Status.WarmUp.Sources = []v1alpha1.SourceStatus{{Name: "first"}, {Name: "second"}, {Name: "third"}}
	if got := shown(); got != "first, second, named/a, named/b" {
		t.Errorf("as reported: %s", got)
	}
	c.Status.WarmUp.Sources = []v1alpha1.SourceStatus{{Name: "named", Builds: []v1alpha1.BuildStatus{{Name: "a", Outcome: v1alpha1.RunFailed}, {Name: "b", Outcome: v1alpha1.RunSucceeded}}}}
	if got := shown(); got != "modules, app, named/a failed, named/b" {
		t.Errorf("one failed: %s", got)
	}
	c.Spec.WarmUp = nil
	if got := shown(); got != "default" {
		t.Errorf("without sources: %s", got)
	}
}
