package naming_test

import (
	"slices"
	"strings"
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
)

// TestSourceLabels holds that each source has a name of its own that a person
// recognises.
func TestSourceLabels(t *testing.T) {
	config := func(name string) v1alpha1.WarmUpSource {
		return v1alpha1.WarmUpSource{ConfigMapRef: &v1alpha1.LocalReference{Name: name}}
	}
	git := func(url string) v1alpha1.WarmUpSource {
		return v1alpha1.WarmUpSource{Git: &v1alpha1.GitSource{URL: url}}
	}
	named := config("m")
	named.Name = "app"
	long := strings.Repeat("a", 100)
	got := naming.SourceLabels([]v1alpha1.WarmUpSource{
		config("ci-modules"), git("https://git.example.com/group/app.git"), git("ssh://git@git.example.com/app/"), named, config("ci-modules"), config(long), config(long),
		git("https://git.example.com/%20"), {},
	})
	want := []string{"ci-modules", "app-2", "app-3", "app", "ci-modules-2", long[:63], long[:61] + "-2", "-20", "source"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
