package writer

import (
	"strings"
	"testing"

	"gocache.dev/operator/api/v1alpha1"
)

// TestToolchainFinding holds that only another toolchain under the same version
// is reported.
func TestToolchainFinding(t *testing.T) {
	t.Parallel()
	was := v1alpha1.ToolchainRecord{Version: "go1.26.8", Platform: "linux/amd64", GoSHA256: "g1", CompilerSHA256: "c1"}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ToolchainRecord)
		want   string
	}{
		"same":         {func(*v1alpha1.ToolchainRecord) {}, ""},
		"new release":  {func(r *v1alpha1.ToolchainRecord) { r.Version, r.CompilerSHA256 = "go1.26.9", "c2" }, ""},
		"new path":     {func(r *v1alpha1.ToolchainRecord) { r.MountPath = "/c" }, ""},
		"not recorded": {func(r *v1alpha1.ToolchainRecord) { r.CompilerSHA256 = "" }, ""},
		"go command":   {func(r *v1alpha1.ToolchainRecord) { r.GoSHA256 = "g2" }, "the go command of go1.26.8"},
		"compiler":     {func(r *v1alpha1.ToolchainRecord) { r.CompilerSHA256 = "c2" }, "sha256 c2, was c1"},
	} {
		is := was
		tt.change(&is)
		if got := toolchainFinding(&was, &is); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := toolchainFinding(nil, &was); got != "" {
		t.Errorf("the first warm-up: %q", got)
	}
}
