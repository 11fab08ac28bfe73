package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// TestRepair creates a snapshot of a cache with one inverted bit. The corrupt entry
// is removed on a clone, a program is built from the rest alone, and PVCs are
// filled with it. A program that it cannot build keeps a snapshot from being
// offered.
func TestRepair(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "repair")
	_, err := s.Warmed(s.ctx)
	s.must(err)
	file, err := s.CorruptArchive(s.ctx)
	s.must(err)

	repaired := s.create("mended", func(v *v1alpha1.Verification) {
		v.OnCorrupt = v1alpha1.SnapshotRepair
		v.OfflineBuild = &v1alpha1.OfflineBuild{ConfigMapRef: v1alpha1.LocalReference{Name: scenario.Cache + "-program"}, Vendor: true}
	})
	if got := condition(repaired.Status.Conditions, v1alpha1.ReadyCondition); got != "True "+v1alpha1.ReasonIntact {
		s.Fatalf("the repaired snapshot is Ready=%s", got)
	}
	for _, stage := range repaired.Status.Stages {
		s.Logf("stage %s took %v", stage.Name, stage.Duration)
		if stage.Duration == nil {
			s.Errorf("stage %s has no end", stage.Name)
		}
	}
	r := repaired.Status.Repair
	if r == nil || r.Removed == 0 || r.Found.Verdict != v1alpha1.VerdictCorrupt || !strings.HasSuffix(r.Found.Examples[0].Path, strings.TrimPrefix(file, "build/")) {
		s.Errorf("repair %+v, damaged was %s", r, file)
	}
	if r != nil && repaired.Status.Verification.Digest != r.Digest {
		s.Errorf("the repair left %s, and %s is offered", r.Digest, repaired.Status.Verification.Digest)
	}
	if d := repaired.Status.OfflineBuild; d == nil || d.Outcome != v1alpha1.WorkSucceeded || d.Modules == 0 {
		s.Errorf("drill %+v", d)
	}
	s.recorded(v1alpha1.CacheSnapshotKind, repaired.Name, "SnapshotCorrupt", "RepairStarted", "Repaired", "Verified", "OfflineBuildSucceeded")
	s.onlyRepaired(repaired.Name)

	s.must(s.ClaimFrom(s.ctx, "of-mended", v1alpha1.CacheSnapshotKind, repaired.Name))
	s.consume("of-mended", "of-mended")
	s.consumed("of-mended", 2*time.Minute)

	s.must(s.Client.Create(s.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "lacking"},
		Data: map[string]string{
			"go.mod":  "module example.com/lacking\n\ngo 1.21\n\nrequire example.com/nowhere v1.0.0\n",
			"go.sum":  "example.com/nowhere v1.0.0 h1:jTTU3gOBlnoy9SckBpAdYAEbSHUNHbYvK1iElVh4RbA=\nexample.com/nowhere v1.0.0/go.mod h1:jTTU3gOBlnoy9SckBpAdYAEbSHUNHbYvK1iElVh4RbA=\n",
			"main.go": "package main\n\nimport _ \"example.com/nowhere\"\n\nfunc main() {}\n",
		},
	}))
	lacks := s.create("lacks", func(v *v1alpha1.Verification) {
		v.OnCorrupt = v1alpha1.SnapshotRepair
		v.OfflineBuild = &v1alpha1.OfflineBuild{ConfigMapRef: v1alpha1.LocalReference{Name: "lacking"}}
	})
	if got := condition(lacks.Status.Conditions, v1alpha1.StalledCondition); got != "True "+v1alpha1.ReasonOfflineBuildFailed {
		s.Errorf("a snapshot that cannot build is Stalled=%s", got)
	}
	s.Logf("it says: %s", lacks.Status.OfflineBuild.Message)
	s.must(s.ClaimFrom(s.ctx, "of-lacks", v1alpha1.CacheSnapshotKind, lacks.Name))
	s.neverFilled("of-lacks")
}

// create makes a CacheSnapshot of the cache and waits until nothing more is
// done about it.
func (s *fixture) create(name string, change func(*v1alpha1.Verification)) *v1alpha1.CacheSnapshot {
	s.Helper()
	snap := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: scenario.Cache}},
	}
	change(&snap.Spec.Verification)
	s.must(s.Client.Create(s.ctx, snap))
	began := time.Now()
	s.until(8*time.Minute, "the fate of snapshot "+name, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), snap)
		saw := condition(snap.Status.Conditions, v1alpha1.ReadyCondition)
		return meta.IsStatusConditionTrue(snap.Status.Conditions, v1alpha1.ReadyCondition) || meta.IsStatusConditionTrue(snap.Status.Conditions, v1alpha1.StalledCondition), saw, err
	})
	s.Logf("the fate of snapshot %s is known after %s", name, since(began))
	return snap
}

// onlyRepaired waits until of a repaired snapshot nothing is left but what is
// offered.
func (s *fixture) onlyRepaired(name string) {
	s.Helper()
	mine := client.MatchingLabels{v1alpha1.SnapshotLabel: name}
	s.until(time.Minute, "all else of snapshot "+name+" to be gone", func(ctx context.Context) (bool, string, error) {
		var csi snapshotv1.VolumeSnapshotList
		if err := s.Client.List(ctx, &csi, client.InNamespace(s.Namespace), mine); err != nil {
			return false, "", err
		}
		var claims corev1.PersistentVolumeClaimList
		if err := s.Client.List(ctx, &claims, client.InNamespace(s.Namespace), mine); err != nil {
			return false, "", err
		}
		var names []string
		for i := range csi.Items {
			names = append(names, csi.Items[i].Name)
		}
		return len(names) == 1 && names[0] == name+"-repaired" && len(claims.Items) == 0, strings.Join(names, " "), nil
	})
}
