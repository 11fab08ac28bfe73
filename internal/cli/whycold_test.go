package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// warmedCache is a GoCache with three builds, and the snapshot that PVCs get.
func warmedCache() []client.Object {
	cache := &v1alpha1.GoCache{ObjectMeta: meta("ci", time.Hour)}
	cache.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{
		{Name: "billing", Builds: []v1alpha1.SourceBuild{
			{Name: "test"},
			{Name: "release", Flags: []string{"-trimpath", "-tags=netgo,osusergo"}, Env: []v1alpha1.BuildEnvVar{{Name: "CGO_ENABLED", Value: "0"}}},
			{Name: "race", Flags: []string{"-race"}, Env: []v1alpha1.BuildEnvVar{{Name: "CGO_ENABLED", Value: "1"}}},
		}},
		{ConfigMapRef: &v1alpha1.LocalReference{Name: "modules"}},
	}}
	cache.Status.WarmUp.Sources = []v1alpha1.SourceStatus{{Name: "billing", Builds: []v1alpha1.BuildStatus{
		{Name: "test", Outcome: v1alpha1.RunSucceeded}, {Name: "release", Outcome: v1alpha1.RunSucceeded}, {Name: "race", Outcome: v1alpha1.RunFailed},
	}}, {Name: "modules"}}
	cache.Status.LatestVerifiedSnapshot = "ci-2"
	cache.Status.Toolchain = &v1alpha1.ToolchainRecord{Version: "go1.27.0"} // a later warm-up
	snapshot := &v1alpha1.CacheSnapshot{ObjectMeta: meta("ci-2", time.Hour)}
	snapshot.Status.Source = &v1alpha1.SourceRecord{Toolchain: &v1alpha1.ToolchainRecord{
		Version: "go1.26.8", Platform: "linux/amd64", MountPath: "/gocache", CGOEnabled: "1"}}
	shared := &v1alpha1.GoCache{ObjectMeta: meta("shared", time.Hour)}
	shared.Spec.Source = &v1alpha1.CacheSource{Namespace: "caches", Name: "ci"}
	shared.Status.Source = &v1alpha1.CacheSourceStatus{Namespace: "caches", Name: "ci", Snapshot: "ci-7", Toolchain: snapshot.Status.Source.Toolchain}
	return []client.Object{cache, snapshot, shared, &v1alpha1.GoCache{ObjectMeta: meta("new", time.Hour)}}
}

// TestWhyCold names for each build of a cache what differs, and exits with an error
// unless one is the same.
func TestWhyCold(t *testing.T) {
	const same = `{"GOVERSION": "go1.26.8", "GOOS": "linux", "GOARCH": "amd64", "GOMODCACHE": "/gocache/mod", "CGO_ENABLED": "1", "GOAMD64": "v1", "GOFLAGS": ""}`
	for name, tt := range map[string]struct {
		env  string
		args []string
		warm bool
	}{
		"same":    {same, []string{"ci"}, true},
		"race":    {strings.Replace(same, `"GOFLAGS": ""`, `"GOFLAGS": "-race"`, 1), []string{"ci"}, false},
		"path":    {strings.Replace(same, "/gocache/mod", "/root/go/pkg/mod", 1), []string{"ci"}, false},
		"release": {strings.NewReplacer("go1.26.8", "go1.25.1", `"CGO_ENABLED": "1"`, `"CGO_ENABLED": "0"`).Replace(same), []string{"gocache/ci", "--", "-trimpath", "-tags=osusergo,netgo"}, false},
		"shared":  {same, []string{"shared", "--", "-tags=x"}, false},
	} {
		a, out, _ := fakeApp(t, clientOf(warmedCache()...), nil)
		a.In = strings.NewReader(tt.env)
		err := run(t, a, append([]string{"why-cold", "--go-env", "-"}, tt.args...)...)
		if tt.warm != (err == nil) || err != nil && !errors.Is(err, ErrReported) {
			t.Errorf("%s: %v", name, err)
		}
		golden(t, "why-cold-"+name+".txt", out.String())
	}
	for want, args := range map[string][]string{
		"has not been warmed yet": {"new", "--go-env", "-"},
		"not found":               {"none", "--go-env", "-"},
		"no such file":            {"ci", "--go-env", "/nonexistent"},
		"required flag":           {"ci"},
		"accepts 1 arg":           {"--go-env", "-"},
	} {
		a, out, _ := fakeApp(t, clientOf(warmedCache()...), nil)
		a.In = strings.NewReader(same)
		if err := run(t, a, append([]string{"why-cold"}, args...)...); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%q: %v, want %q; printed %q", args, err, want, out)
		}
	}
	a, _, _ := fakeApp(t, clientOf(warmedCache()...), nil)
	a.In = strings.NewReader("GOOS=linux")
	if err := run(t, a, "why-cold", "ci", "--go-env", "-"); err == nil || !strings.Contains(err.Error(), "go env -json") {
		t.Errorf("the output of go env without -json: %v", err)
	}
}
