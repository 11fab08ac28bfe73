package populator

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// registerInterval is the interval of checks that the cluster lists our kinds as
// sources of PVCs: the API may be installed, or an entry removed, at any time.
const registerInterval = 15 * time.Minute

// registrar keeps our kinds on the cluster's list of sources, if it has one. An
// entry outlives the operator: it only names the owner of the kinds.
type registrar struct {
	client   client.Client
	live     client.Reader
	interval time.Duration
}

// Start looks until the context ends. The manager calls it when it leads.
func (r *registrar) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, r.register, r.interval)
	return nil
}

// NeedLeaderElection makes it run on the leader only.
func (r *registrar) NeedLeaderElection() bool { return true }

// +kubebuilder:rbac:groups=populator.storage.k8s.io,resources=volumepopulators,verbs=get;create;patch

func (r *registrar) register(ctx context.Context) {
	for _, kind := range []string{v1alpha1.GoCacheKind, v1alpha1.CacheSnapshotKind} {
		wrote, err := volume.Register(ctx, r.client, r.live, kind, fieldOwner)
		switch {
		case err != nil && ctx.Err() == nil:
			log.FromContext(ctx).Error(err, "A source of PVCs is not registered; PVCs are filled all the same", "kind", kind)
		case wrote:
			log.FromContext(ctx).Info("Registered a source of PVCs", "kind", kind)
		}
	}
}
