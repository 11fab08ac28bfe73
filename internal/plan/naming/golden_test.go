package naming_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/plan/naming"
)

// TestGoldenNames fixes names that released versions have given to objects. An
// operator that derives another name after an upgrade loses the objects that
// exist: it starts a second writer, or takes a second snapshot of the same
// cause. Do not change an expected name.
func TestGoldenNames(t *testing.T) {
	r := strings.Repeat
	const text = "a text that has a hash"
	for _, tt := range []struct{ parent, suffix, want string }{
		{"ci", naming.Writer, "ci-writer"},
		{"ci", naming.Verify, "ci-verify"},
		{"ci", naming.Reverify, "ci-reverify"},
		{"ci", naming.Repair, "ci-repair"},
		{"ci", naming.Repaired, "ci-repaired"},
		{"ci", naming.OfflineBuild, "ci-offline-build"},
		{"ci", naming.Next, "ci-next"},
		{"ci", naming.ReplacementSource, "ci-next-source"},
		{"ci", naming.Previous, "ci-previous"},
		{"ci", naming.Environment, "ci-env"},
		{"ci", naming.OfflineEnvironment, "ci-env-offline"},

		// The longest name that is kept, and the shortest that is truncated.
		{r("a", 56), "writer", r("a", 56) + "-writer"},
		{r("a", 57), "writer", r("a", 47) + "-12a54800-writer"},
		{r("a", 58), "writer", r("a", 47) + "-7633068f-writer"},
		{r("a", 45) + ".-" + r("b", 20), "verify", r("a", 45) + "-4d9467cf-verify"},

		// Up to 52 characters of suffix leave room for the parent; more do not.
		{"a" + r("b", 12), r("s", 51), "ab-b6836119-" + r("s", 51)},
		{"a" + r("b", 12), r("s", 52), "a-86d8ad1f-" + r("s", 52)},
		{"a" + r("b", 12), r("s", 53), "a" + r("b", 12) + "-" + r("s", 40) + "-68acf9ce"},
		{"ci", r("s", 62), "ci-" + r("s", 51) + "-c46d596a"},
		{r("a", 53) + ".-" + r("b", 20), r("s", 53), r("a", 53) + "-e8b8e986"},
	} {
		if got := naming.Child(tt.parent, tt.suffix); got != tt.want {
			t.Errorf("Child(%q, %q) = %q, want %q", tt.parent, tt.suffix, got, tt.want)
		}
	}
	for suffix, want := range map[string]string{naming.Verify: "clone-U-verify", naming.Reverify: "clone-U-reverify", naming.Reference: "clone-U-reference"} {
		if got := naming.Clone("U", suffix); got != want {
			t.Errorf("Clone(%q) = %q, want %q", suffix, got, want)
		}
	}
	if got := naming.Hash(text); got != "5ab573d6" {
		t.Errorf("Hash(%q) = %q", text, got)
	}
}
