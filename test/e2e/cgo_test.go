package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/test/scenario"
)

// TestCompiler warms builds with cgo and with the race detector, of a program that calls
// C, in an image with a C compiler. A consumer in that image compiles nothing, of either,
// and reports it.
func TestCompiler(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "e2e-compiler")
	if s.HostIP == "" {
		s.Skip("the image with a C compiler is made from the packages of this machine, for its own cluster")
	}
	var cache v1alpha1.GoCache
	s.must(s.Client.Get(s.ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &cache))
	image, err := suite.cluster.LoadCompiler(s.ctx, cache.Spec.Toolchain.Version)
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
	before := cache.DeepCopy()
	cgo := []v1alpha1.BuildEnvVar{{Name: "CGO_ENABLED", Value: "1"}}
	cache.Spec.Toolchain.Image = image
	cache.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{
		Name: "program", Git: &v1alpha1.GitSource{URL: url, SecretRef: &v1alpha1.LocalReference{Name: "git"}},
		Builds: []v1alpha1.SourceBuild{{Name: "cgo", Env: cgo}, {Name: "race", Env: cgo, Flags: []string{"-race"}}},
	}}}
	s.must(s.Client.Patch(s.ctx, &cache, client.MergeFrom(before)))
	cache, err = s.WarmedAt(s.ctx, commit)
	s.must(err)
	s.Logf("warm in %s: %+v", took(cache.Status.WarmUp), cache.Status.WarmUp.Sources)
	for name, flags := range map[string]string{"cgo": "-buildvcs=false", "race": "-buildvcs=false -race"} {
		n, err := s.CompilesWith(s.ctx, "compiler-"+name, image, files, flags)
		s.must(err)
		s.Logf("build, vet and tests with GOFLAGS=%q on a clone, offline: %d packages compiled", flags, n)
		if n != 0 {
			s.Errorf("%s: %d packages had to be compiled", name, n)
		}
		s.report("program/"+name, int64(n))
	}
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
