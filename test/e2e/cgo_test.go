package e2e

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/test/scenario"
)

// compilerVariable runs the test of the image with a C compiler, which compiles the
// standard library twice.
const compilerVariable = "COMPILER"

// TestCompiler warms builds with cgo and with the race detector, of a program that calls
// C, in an image with a C compiler. A consumer in that image compiles nothing, of either,
// runs the tests, and reports it.
func TestCompiler(t *testing.T) {
	if os.Getenv(compilerVariable) == "" {
		t.Skipf("%s is not set: this is run by 'make test-cgo'", compilerVariable)
	}
	s := inOwn(t, "e2e-compiler", func() (*scenario.Scenario, error) {
		return suite.cluster.BeginEmpty(suite.ctx, "e2e-compiler", suite.narrator)
	})
	if s.HostIP == "" {
		s.Fatal("the image with a C compiler is made from the packages of this machine, for its own cluster")
	}
	version := s.Image[strings.LastIndex(s.Image, ":")+1:]
	image, err := suite.cluster.LoadCompiler(s.ctx, version)
	s.must(err)
	repository, err := gitserver.New(s.ctx, s.TempDir())
	s.must(err)
	files := s.program()
	files["twice.go"] = "package main\n\n// static int twice(int n) { return 2 * n; }\nimport \"C\"\n\nfunc twice(n int) int { return int(C.twice(C.int(n))) }\n"
	files["twice_test.go"] = "package main\n\nimport \"testing\"\n\nfunc TestTwice(t *testing.T) {\n\tif twice(21) != 42 {\n\t\tt.Fail()\n\t}\n}\n"
	commit, err := repository.Commit(s.ctx, files)
	s.must(err)
	url, ca := s.serve(repository, "ci", "correct horse")
	s.must(s.Client.Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "git", Annotations: map[string]string{v1alpha1.HostsAnnotation: s.HostIP}},
		StringData: map[string]string{"username": "ci", "password": "correct horse", "ca.crt": string(ca)},
	}))
	cgo := []v1alpha1.BuildEnvVar{{Name: "CGO_ENABLED", Value: "1"}}
	s.must(s.Client.Create(s.ctx, &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: scenario.Cache},
		Spec: v1alpha1.GoCacheSpec{
			Toolchain:   v1alpha1.Toolchain{Version: version, Image: image},
			Storage:     v1alpha1.CacheStorage{Size: resource.MustParse("1Gi"), DeletionPolicy: v1alpha1.DeletionDelete},
			Environment: v1alpha1.Environment{Proxy: s.UpstreamURL()},
			WarmUp: &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{
				Name: "program", Git: &v1alpha1.GitSource{URL: url, SecretRef: &v1alpha1.LocalReference{Name: "git"}},
				Builds: []v1alpha1.SourceBuild{{Name: "cgo", Env: cgo}, {Name: "race", Env: cgo, Flags: []string{"-race"}}},
			}}},
			Snapshots: &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), DeletionPolicy: v1alpha1.DeletionDelete},
		},
	}))
	cache, err := s.WarmedAt(s.ctx, commit)
	s.must(err)
	s.Logf("warm in %s: %+v", took(cache.Status.WarmUp), cache.Status.WarmUp.Sources)
	for _, b := range cache.Spec.WarmUp.Sources[0].Builds {
		n := s.compilesWith("compiler-"+b.Name, image, files, b)
		if n != 0 {
			s.Errorf("%s: %d packages had to be compiled", b.Name, n)
		}
		s.report("program/"+b.Name, n)
	}
	// Or the count would be of nothing.
	files["twice.go"] += "\n// Changed.\n"
	if b := cache.Spec.WarmUp.Sources[0].Builds[1]; s.compilesWith("compiler-changed", image, files, b) == 0 {
		s.Errorf("%s: a change compiled nothing", b.Name)
	}
}

// compilesWith counts what a declared build compiles on a clone, offline, in an image.
func (s *fixture) compilesWith(name, image string, files map[string]string, b v1alpha1.SourceBuild) int64 {
	s.Helper()
	flags := strings.Join(append([]string{"-buildvcs=false"}, b.Flags...), " ")
	n, err := s.CompilesWith(s.ctx, name, image, files, flags)
	s.must(err)
	s.Logf("%s: build, vet and tests with GOFLAGS=%q on a clone: %d packages compiled", name, flags, n)
	return int64(n)
}

// report is what a consumer reports of its build.
func (s *fixture) report(build string, misses int64) {
	s.Helper()
	r := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, GenerateName: "build-"}}
	r.Spec = v1alpha1.CacheRequestSpec{
		TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: scenario.Cache}, Action: v1alpha1.RequestReportBuild,
		Build: &v1alpha1.BuildReport{Name: build, Hits: 1, Misses: misses},
	}
	s.must(s.Client.Create(s.ctx, r))
	s.must(scenario.Until(s.ctx, time.Minute, "the report of "+build, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(r), r)
		return r.Status.Outcome == v1alpha1.RequestSucceeded, string(r.Status.Outcome) + " " + r.Status.Message, err
	}))
}
