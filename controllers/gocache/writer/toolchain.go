package writer

import (
	"fmt"

	"gocache.dev/operator/api/v1alpha1"
)

// toolchainFinding reports that the toolchain of a warm-up is another one under the
// same version; empty: it is not, or that is not known. Builds of one release may
// differ between distributors, and a tag of an image may have moved, for better
// or worse.
func toolchainFinding(before, after *v1alpha1.ToolchainRecord) string {
	switch {
	case before == nil || after == nil || before.Version != after.Version || before.Platform != after.Platform:
		return ""
	case differ(before.GoSHA256, after.GoSHA256):
		return anotherBuild(after, "go command", before.GoSHA256, after.GoSHA256)
	case differ(before.CompilerSHA256, after.CompilerSHA256):
		return anotherBuild(after, "compiler", before.CompilerSHA256, after.CompilerSHA256)
	default:
		return ""
	}
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }

func anotherBuild(t *v1alpha1.ToolchainRecord, what, before, after string) string {
	return fmt.Sprintf("the %s of %s %s is another one than at the warm-up before (sha256 %s, was %s): see whether you meant to change it, and name toolchain.image with a digest",
		what, t.Version, t.Platform, short(after), short(before))
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 12)] }
