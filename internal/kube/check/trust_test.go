package check_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
)

// TestTrust holds that each file that the command names is in a volume of the pod, and
// that a ConfigMap without it is reported before any pod waits for it.
func TestTrust(t *testing.T) {
	sums := func(namespace, name string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
	}
	live := fake.NewClientBuilder().WithObjects(
		sums("n", "a", map[string]string{"go.sum": "x"}), sums("n", "b", map[string]string{"go.sum": "y"}),
		sums("n", "other-key", map[string]string{"sums": "x"}), sums("other", "elsewhere", map[string]string{"go.sum": "x"}),
	).Build()
	if got, err := check.Trust(t.Context(), live, "n", "spec.trust", nil); err != nil || len(got.Volumes)+len(got.GoSum)+len(got.SumDB) > 0 {
		t.Errorf("no trust: %+v, %v", got, err)
	}
	got, err := check.Trust(t.Context(), live, "n", "spec.trust", &v1alpha1.Trust{
		GoSumRefs: []v1alpha1.LocalReference{{Name: "a"}, {Name: "b"}}, ChecksumDatabase: "sum.example.com+aa+bb",
	})
	if err != nil || got.SumDB != "sum.example.com+aa+bb" {
		t.Errorf("%+v, %v", got, err)
	}
	got.TrustSources([]string{"warmed", "gone"})
	if len(got.GoSum) != 2 || len(got.OptionalGoSum) != 2 {
		t.Fatalf("files %q, and %q that may be absent", got.GoSum, got.OptionalGoSum)
	}
	for i, file := range append(slices.Clone(got.GoSum), got.OptionalGoSum...) {
		from, optional := mounted(t, got, file)
		if want := []string{"a", "b", "warmed", "gone"}[i]; from != want || optional != (i >= 2) {
			t.Errorf("%s is of ConfigMap %s, optional %t; want %s", file, from, optional, want)
		}
	}
	for _, name := range []string{"none", "other-key", "elsewhere"} {
		_, err := check.Trust(t.Context(), live, "n", "spec.trust", &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "a"}, {Name: name}}})
		stalled := conditions.Stalled(err)
		if stalled == nil || stalled.Reason != v1alpha1.ReasonSourceNotFound || !strings.Contains(stalled.Message, "spec.trust.goSumRefs[1]: ConfigMap "+name+" with key go.sum does not exist") {
			t.Errorf("%s: %v", name, err)
		}
	}
	overloaded := errors.New("overloaded")
	broken := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return overloaded
		},
	}).Build()
	if _, err := check.Trust(t.Context(), broken, "n", "spec.trust", &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "a"}}}); !errors.Is(err, overloaded) || conditions.Stalled(err) != nil {
		t.Errorf("unreadable: %v", err)
	}
}

// mounted names the ConfigMap that a file of the pod is of, and whether that may be
// absent.
func mounted(t *testing.T, trusted check.Trusted, file string) (name string, optional bool) {
	t.Helper()
	for _, m := range trusted.Mounts {
		key, below := strings.CutPrefix(file, m.MountPath+"/")
		if !below {
			continue
		}
		for _, v := range trusted.Volumes {
			if v.Name != m.Name || !m.ReadOnly || v.ConfigMap == nil {
				continue
			}
			for _, item := range v.ConfigMap.Items {
				if item.Path == key && item.Key == "go.sum" {
					return v.ConfigMap.Name, v.ConfigMap.Optional != nil && *v.ConfigMap.Optional
				}
			}
		}
	}
	t.Errorf("%s is not mounted read-only: %+v, %+v", file, trusted.Mounts, trusted.Volumes)
	return "", false
}

// TestFullCoverage holds when content that no trust data name is not vouched for.
func TestFullCoverage(t *testing.T) {
	sums := []v1alpha1.LocalReference{{Name: "a"}}
	for name, tt := range map[string]struct {
		trust *v1alpha1.Trust
		want  bool
	}{
		"no trust":           {nil, false},
		"nothing":            {&v1alpha1.Trust{}, false},
		"first seen alone":   {&v1alpha1.Trust{FirstSeen: true}, false},
		"go.sum files":       {&v1alpha1.Trust{GoSumRefs: sums}, true},
		"a database":         {&v1alpha1.Trust{ChecksumDatabase: "sum.example.com"}, true},
		"partial, by choice": {&v1alpha1.Trust{GoSumRefs: sums, Coverage: v1alpha1.CoveragePartial}, false},
	} {
		if got := check.FullCoverage(tt.trust); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestSources holds that each ConfigMap is named once, and git repositories are not.
func TestSources(t *testing.T) {
	of := func(name string) v1alpha1.WarmUpSource {
		return v1alpha1.WarmUpSource{ConfigMapRef: &v1alpha1.LocalReference{Name: name}}
	}
	spec := &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{of("a"), {Git: &v1alpha1.GitSource{URL: "https://git.example.com/a"}}, of("b"), of("a")}}
	if got := check.Sources(spec); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	if got := check.Sources(nil); got != nil {
		t.Errorf("no warm-up: %q", got)
	}
}

// TestDoubt holds that a layer which lost all it had is not taken for intact.
func TestDoubt(t *testing.T) {
	both := []v1alpha1.CacheLayer{v1alpha1.LayerModules, v1alpha1.LayerBuild}
	for name, tt := range map[string]struct {
		verdict integrity.Outcome
		layers  []v1alpha1.CacheLayer
		holds   integrity.Counts
		had     v1alpha1.CacheCounts
		want    integrity.Outcome
		layer   string // in the message
	}{
		"as it was":            {integrity.Intact, both, integrity.Counts{Modules: 1, BuildEntries: 2}, v1alpha1.CacheCounts{Modules: 1, BuildEntries: 2}, integrity.Intact, ""},
		"less than it was":     {integrity.Intact, both, integrity.Counts{Modules: 1, BuildEntries: 1}, v1alpha1.CacheCounts{Modules: 9, BuildEntries: 9}, integrity.Intact, ""},
		"always empty":         {integrity.Intact, both, integrity.Counts{}, v1alpha1.CacheCounts{}, integrity.Intact, ""},
		"modules are gone":     {integrity.Intact, both, integrity.Counts{BuildEntries: 2}, v1alpha1.CacheCounts{Modules: 1, BuildEntries: 2}, integrity.Inconclusive, "layer Modules is empty, and held 1 entries"},
		"the build is gone":    {integrity.Intact, both, integrity.Counts{Modules: 1}, v1alpha1.CacheCounts{Modules: 1, BuildEntries: 2}, integrity.Inconclusive, "layer Build is empty, and held 2 entries"},
		"a layer without use":  {integrity.Intact, both[:1], integrity.Counts{Modules: 1}, v1alpha1.CacheCounts{Modules: 1, BuildEntries: 2}, integrity.Intact, ""},
		"it is Corrupt anyway": {integrity.OutcomeCorrupt, both, integrity.Counts{}, v1alpha1.CacheCounts{Modules: 1}, integrity.OutcomeCorrupt, ""},
	} {
		got := check.Doubt(integrity.Verdict{Verdict: tt.verdict, Counts: tt.holds}, tt.layers, tt.had)
		if got.Verdict != tt.want || !strings.Contains(got.Message, tt.layer) || (got.Message == "") != (tt.layer == "") {
			t.Errorf("%s: %s, %q; want %s, %q", name, got.Verdict, got.Message, tt.want, tt.layer)
		}
	}
}
