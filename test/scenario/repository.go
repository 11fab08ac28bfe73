package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// countCompiles builds, vets and tests a module, and prints how many packages
// were compiled for it.
const countCompiles = `
set -e
{ go build -x -o /dev/null ./... && go vet ./... && go test -x -count=1 ./... ; } >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "compiled $(grep -c '/compile ' /tmp/log || true)"
`

// WarmFrom makes a repository the only source of the cache.
func (s *Scenario) WarmFrom(ctx context.Context, source v1alpha1.GitSource) error {
	var cache v1alpha1.GoCache
	if err := s.get(ctx, Cache, &cache); err != nil {
		return fmt.Errorf("read GoCache %s: %w", Cache, err)
	}
	before := cache.DeepCopy()
	cache.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Git: &source}}}
	if err := s.Client.Patch(ctx, &cache, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("warm GoCache %s from %s: %w", Cache, source.URL, err)
	}
	return nil
}

// WarmedAt waits until the cache was warmed from a commit, and until consumers
// get a snapshot of that.
func (s *Scenario) WarmedAt(ctx context.Context, commit string) (v1alpha1.GoCache, error) {
	var c v1alpha1.GoCache
	err := Until(ctx, 20*time.Minute, "GoCache "+Cache+" to be warm at commit "+commit, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, Cache, &c); err != nil {
			return false, "", err
		}
		_, saw := ready(c.Status.Conditions)
		w := c.Status.WarmUp
		at := len(w.Revisions) == 1 && w.Revisions[0].WarmedCommit == commit
		var snap v1alpha1.CacheSnapshot
		if at && c.Status.LatestVerifiedSnapshot != "" {
			if err := s.get(ctx, c.Status.LatestVerifiedSnapshot, &snap); err != nil {
				return false, "", err
			}
		}
		// The snapshot is of the run that the commit led to.
		return at && w.Outcome == v1alpha1.RunSucceeded && w.CompletionTime != nil && !snap.CreationTimestamp.Before(w.CompletionTime), saw, nil
	})
	return c, err
}

// CompilesOnClone builds files, offline, on a clone of their own, at the place
// where a warm-up has its first repository, and returns how many packages had to be
// compiled.
func (s *Scenario) CompilesOnClone(ctx context.Context, name string, files map[string]string) (int, error) {
	return s.compiles(ctx, task{name: name}, files)
}

// CompilesWith is CompilesOnClone in an image, with flags of the go command and cgo.
func (s *Scenario) CompilesWith(ctx context.Context, name, image string, files map[string]string, flags string) (int, error) {
	return s.compiles(ctx, task{name: name, image: image, vars: map[string]string{"GOFLAGS": flags, "CGO_ENABLED": "1"}}, files)
}

func (s *Scenario) compiles(ctx context.Context, t task, files map[string]string) (int, error) {
	name := t.name
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}, Data: files}
	if err := s.Client.Create(ctx, cm); err != nil {
		return 0, fmt.Errorf("make ConfigMap %s: %w", name, err)
	}
	if err := s.Claim(ctx, name); err != nil {
		return 0, err
	}
	t.claim, t.env, t.src, t.dir, t.script = name, Cache+"-env-offline", name, "/sources/0", countCompiles
	if err := s.start(ctx, t); err != nil {
		return 0, err
	}
	out, err := s.finish(ctx, name, 5*time.Minute)
	if err != nil {
		return 0, err
	}
	n := 0
	if _, err := fmt.Sscanf(out[max(0, strings.LastIndex(out, "compiled ")):], "compiled %d", &n); err != nil {
		return 0, fmt.Errorf("no count in the output:\n%s", out)
	}
	return n, nil
}
