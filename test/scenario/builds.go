package scenario

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// timed runs a command and prints its wall time in milliseconds after a mark.
// The clock is the kernel's: not every image's date has a finer unit than a second.
const timed = `
now() { read -r up _ < /proc/uptime; echo "${up%.*}${up#*.}0"; }
start=$(now)
"$@" || exit 1
echo "took-ms $(( $(now) - start ))"
`

// ColdBuild builds the sample program with empty caches, through the proxy: a
// CI pod's life without the operator's clones.
func (s *Scenario) ColdBuild(ctx context.Context) (time.Duration, error) {
	return s.build(ctx, task{name: "cold-build", env: Cache + "-env"})
}

// build runs one build and returns how long the go command took.
func (s *Scenario) build(ctx context.Context, t task) (time.Duration, error) {
	t.script = "set -- go build -o /tmp/program .\n" + timed
	if err := s.start(ctx, t); err != nil {
		return 0, err
	}
	out, err := s.finish(ctx, t.name, 10*time.Minute)
	if err != nil {
		return 0, err
	}
	return took(out)
}

func took(out string) (time.Duration, error) {
	var ms int64
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == 't' {
			if n, err := fmt.Sscanf(out[i:], "took-ms %d", &ms); err == nil && n == 1 {
				return time.Duration(ms) * time.Millisecond, nil
			}
		}
	}
	return 0, fmt.Errorf("no time in the output:\n%s", out)
}

// Clone is what one replica got.
type Clone struct {
	// Claim is the name of the PVC, and Snapshot that of the snapshot that it is a clone of.
	Claim, Snapshot string
	// Build is how long the build on it took, to a second.
	Build time.Duration
}

// OfflineBuilds waits for the sample StatefulSet: both replicas build from
// their clones with GOPROXY=off.
func (s *Scenario) OfflineBuilds(ctx context.Context) ([]Clone, error) {
	var set appsv1.StatefulSet
	err := Until(ctx, 5*time.Minute, "both replicas of "+Runner, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, Runner, &set); err != nil {
			return false, "", err
		}
		return set.Status.ReadyReplicas == 2, fmt.Sprintf("%d of 2 ready", set.Status.ReadyReplicas), nil
	})
	if err != nil {
		return nil, err
	}
	var clones []Clone
	for i := range 2 {
		clone, err := s.clone(ctx, fmt.Sprintf("%s-%d", Runner, i))
		if err != nil {
			return nil, err
		}
		clones = append(clones, clone)
	}
	return clones, nil
}

func (s *Scenario) clone(ctx context.Context, pod string) (Clone, error) {
	claim := "cache-" + pod
	snapshot, err := s.PopulatedFrom(ctx, claim)
	if err != nil {
		return Clone{}, err
	}
	var p corev1.Pod
	if err := s.get(ctx, pod, &p); err != nil {
		return Clone{}, fmt.Errorf("read pod %s: %w", pod, err)
	}
	done := p.Status.InitContainerStatuses[0].State.Terminated
	if done == nil || done.ExitCode != 0 {
		return Clone{}, fmt.Errorf("pod %s is ready without a build", pod)
	}
	return Clone{Claim: claim, Snapshot: snapshot, Build: done.FinishedAt.Sub(done.StartedAt.Time)}, nil
}

// PopulatedFrom names the snapshot that a PVC's volume is a clone of.
func (s *Scenario) PopulatedFrom(ctx context.Context, claim string) (string, error) {
	var pvc corev1.PersistentVolumeClaim
	if err := s.get(ctx, claim, &pvc); err != nil {
		return "", fmt.Errorf("read PVC %s: %w", claim, err)
	}
	var pv corev1.PersistentVolume
	if err := s.Client.Get(ctx, client.ObjectKey{Name: pvc.Spec.VolumeName}, &pv); err != nil {
		return "", fmt.Errorf("read the volume of PVC %s: %w", claim, err)
	}
	return pv.Annotations[v1alpha1.PopulatedFromAnnotation], nil
}

// WarmBuild builds the sample program on a clone of its own, offline, alone:
// what a CI pod with a clone takes.
func (s *Scenario) WarmBuild(ctx context.Context) (time.Duration, error) {
	const claim = "warm-build"
	if err := s.Claim(ctx, claim); err != nil {
		return 0, err
	}
	return s.build(ctx, task{name: claim, claim: claim, env: Cache + "-env-offline"})
}

// Claim creates a PVC of that name from the cache's newest verified snapshot.
func (s *Scenario) Claim(ctx context.Context, name string) error {
	return s.ClaimFrom(ctx, name, v1alpha1.GoCacheKind, Cache)
}

// ClaimFrom creates a PVC from a GoCache's newest verified snapshot,
// or for one CacheSnapshot.
func (s *Scenario) ClaimFrom(ctx context.Context, name, kind, source string) error {
	return s.ClaimOf(ctx, "", name, kind, source)
}

// ClaimOf is ClaimFrom with a storage class; empty: the cluster's default.
func (s *Scenario) ClaimOf(ctx context.Context, class, name, kind, source string) error {
	var cache corev1.PersistentVolumeClaim
	if err := s.get(ctx, Cache, &cache); err != nil {
		return fmt.Errorf("read PVC %s: %w", Cache, err)
	}
	group := v1alpha1.GroupName
	pvc := &corev1.PersistentVolumeClaim{}
	pvc.Namespace, pvc.Name = s.Namespace, name
	pvc.Spec = corev1.PersistentVolumeClaimSpec{
		AccessModes:   cache.Spec.AccessModes,
		Resources:     cache.Spec.Resources,
		DataSourceRef: &corev1.TypedObjectReference{APIGroup: &group, Kind: kind, Name: source},
	}
	if class != "" {
		pvc.Spec.StorageClassName = &class
	}
	if err := s.Client.Create(ctx, pvc); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create PVC %s: %w", name, err)
	}
	return nil
}
