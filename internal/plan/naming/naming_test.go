package naming_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/naming"
)

func TestChild(t *testing.T) {
	if got := naming.Child("ci", "writer"); got != "ci-writer" {
		t.Errorf("got %q", got)
	}
	seen := map[string]bool{}
	for _, parent := range []string{strings.Repeat("a", 60), strings.Repeat("a", 61), strings.Repeat("a", 50) + "-" + strings.Repeat("b", 12)} {
		for _, suffix := range []string{"verify", strings.Repeat("s", 62)} {
			got := naming.Child(parent, suffix)
			if len(got) > 63 || strings.Contains(got, "--") || strings.HasSuffix(got, "-") {
				t.Errorf("Child(%q, %q) = %q", parent, suffix, got)
			}
			if seen[got] {
				t.Errorf("%q twice", got)
			}
			seen[got] = true
			if again := naming.Child(parent, suffix); again != got {
				t.Errorf("%q and then %q", got, again)
			}
		}
	}
}
