package images

import (
	"errors"
	"fmt"
	"strings"
)

// VersionPlaceholder stands for a Go release in a toolchain image pattern.
const VersionPlaceholder = "{version}"

// The images used by default. There is no default for the operator's own: it is
// the image that the manager itself runs in, which only its Deployment
// contains.
const (
	DefaultToolchain = "docker.io/library/golang:" + VersionPlaceholder
	DefaultHAProxy   = "docker.io/library/haproxy:2.6"
)

// Images are the references of all images that the operator puts into pods.
type Images struct {
	// Operator holds the manager, the agent, the proxy and the router's sidecar.
	Operator string
	// Toolchain is a pattern whose VersionPlaceholder becomes a Go release.
	Toolchain string
	// HAProxy is the default router's data plane.
	HAProxy string
	// Athens is that of instances with this server; empty: each must name its own.
	Athens string
}

// ToolchainFor returns the image of a Go release, such as 1.26.8. A pattern
// without a placeholder is returned as it is: one image for every release.
func (i Images) ToolchainFor(version string) string {
	return strings.ReplaceAll(i.Toolchain, VersionPlaceholder, version)
}

// Validate is what is missing before a pod with an empty image is refused
// by the API server, far from the flag that caused it.
func (i Images) Validate() error {
	var errs []error
	for _, image := range []struct{ name, value string }{
		{"operator", i.Operator},
		{"toolchain", i.Toolchain},
		{"HAProxy", i.HAProxy},
	} {
		if image.value == "" || strings.ContainsAny(image.value, " \t\n") {
			errs = append(errs, fmt.Errorf("the %s image is %q: want a reference such as example.com/name:tag", image.name, image.value))
		}
	}
	return errors.Join(errs...)
}
