package populate

import (
	"fmt"

	"gocache.dev/operator/internal/domain/goenv"
)

// Build is what decides whether a build cache is hit.
type Build struct {
	// Release of Go, such as go1.26.8; of a consumer also without "go", or a
	// series such as 1.26.
	Release string
	// Platform as GOOS/GOARCH.
	Platform string
	// MountPath of the volume.
	MountPath string
}

// Cold returns in which ways a clone would be of no use to the builds that the
// PVC is for, as far as both are known: to another release or platform, or at
// another path, a build cache is cold.
func Cold(f Observation) []string {
	is, expects := f.Source.Written, f.Claim.For
	var why []string
	if expects.Release != "" && is.Release != "" && !goenv.IsRelease(is.Release, expects.Release) {
		why = append(why, fmt.Sprintf("it was written by %s, not %s", is.Release, expects.Release))
	}
	if expects.Platform != "" && is.Platform != "" && is.Platform != expects.Platform {
		why = append(why, fmt.Sprintf("it was written for %s, not %s", is.Platform, expects.Platform))
	}
	if expects.MountPath != "" && is.MountPath != "" && is.MountPath != expects.MountPath {
		why = append(why, fmt.Sprintf("it was written at %s, not %s", is.MountPath, expects.MountPath))
	}
	return why
}
