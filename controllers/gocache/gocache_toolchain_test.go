package gocache

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// TestToolchainIsCompared holds that the agent is told which release its image
// has to hold, above all when the image is the user's own.
func TestToolchainIsCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Toolchain.Image = "registry.example.com/our-go:latest" })
	w.settle()
	c := get[batchv1.Job](w, "ci-writer").Spec.Template.Spec.Containers[0]
	if command := strings.Join(c.Command, " "); !strings.Contains(command, " --expect-go 1.26.8") || c.Image != "registry.example.com/our-go:latest" {
		t.Errorf("image %s, command %s", c.Image, command)
	}

	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded})
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Toolchain.Version = "1.26.9" })
	w.settle()
	if len(w.warmUps) != 2 {
		t.Errorf("%d warm-ups, want another one after the version was changed", len(w.warmUps))
	}
}
