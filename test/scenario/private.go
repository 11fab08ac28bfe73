package scenario

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunModule copies files to an empty directory of a pod, gets modules there with an
// empty module cache and the variables, runs the program, and returns what was
// printed.
func (s *Scenario) RunModule(ctx context.Context, name string, files, vars map[string]string, modules string) (string, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Data: files}
	if err := s.Client.Create(ctx, cm); err != nil {
		return "", fmt.Errorf("make ConfigMap %s: %w", name, err)
	}
	script := "set -e\nmkdir /tmp/main\ncp * /tmp/main\ncd /tmp/main\nexport GOMODCACHE=/tmp/mod GOCACHE=/tmp/build\ngo get " + modules + "\ngo run .\n"
	if err := s.start(ctx, task{name: name, src: name, dir: "/src", script: script, vars: vars}); err != nil {
		return "", err
	}
	return s.finish(ctx, name, 15*time.Minute) // it compiles with empty caches, beside other tests
}
