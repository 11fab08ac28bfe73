package populator

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestColdCloneIsReported holds that a PVC whose consumer builds otherwise than
// its cache was written gets one warning, and filled all the same; and that
// no other PVC gets one.
func TestColdCloneIsReported(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        []string // words of the warning; none: there is none
	}{
		"says nothing":   {nil, nil},
		"the same":       {map[string]string{v1alpha1.ToolchainAnnotation: "go1.26.8", v1alpha1.PlatformAnnotation: "linux/amd64", v1alpha1.MountPathAnnotation: "/gocache"}, nil},
		"the series":     {map[string]string{v1alpha1.ToolchainAnnotation: "1.26"}, nil},
		"other release":  {map[string]string{v1alpha1.ToolchainAnnotation: "go1.26.7"}, []string{"written by go1.26.8, not go1.26.7"}},
		"other platform": {map[string]string{v1alpha1.PlatformAnnotation: "linux/arm64"}, []string{"for linux/amd64, not linux/arm64"}},
		"other path":     {map[string]string{v1alpha1.MountPathAnnotation: "/cache", v1alpha1.ToolchainAnnotation: "1.25"}, []string{"go1.26.8, not 1.25", "at /gocache, not /cache"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			w.changeSnapshot("ci-1", func(s *v1alpha1.CacheSnapshot) {
				s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci", Toolchain: &v1alpha1.ToolchainRecord{
					Version: "go1.26.8", Platform: "linux/amd64", MountPath: "/gocache",
				}}
			})
			w.cache("ci", "ci-1")
			w.claim("data", v1alpha1.GoCacheKind, "ci", func(c *corev1.PersistentVolumeClaim) { c.Annotations = tt.annotations })
			w.schedule("data", "n1")
			w.settle("data")
			w.populated("data", "ci-1")
			if len(tt.want) == 0 {
				if n := w.events.count("ColdClone"); n > 0 {
					t.Errorf("events: %q", w.events.all())
				}
				return
			}
			w.once(append([]string{"data: Warning ColdClone"}, tt.want...)...)
			w.once("data: Normal Populated")
		})
	}
}
