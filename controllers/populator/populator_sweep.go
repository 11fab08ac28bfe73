package populator

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/internal/kube/sharing"
)

// sweepInterval is the interval of checks for contents of shared snapshots whose PVC
// was deleted before it was populated. They have no owner, and are of no use.
const sweepInterval = 5 * time.Minute

// sweeper deletes the contents of shared snapshots that nothing needs any more.
type sweeper struct {
	client   client.Client
	live     client.Reader
	interval time.Duration
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshotcontents,verbs=list;delete

// Start looks until the context ends. The manager calls it when it leads.
func (s *sweeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := sharing.Sweep(ctx, s.client, s.live); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Contents of shared snapshots are not swept; they are looked at again", "after", s.interval)
		}
	}, s.interval)
	return nil
}

// NeedLeaderElection makes it run on the leader only.
func (s *sweeper) NeedLeaderElection() bool { return true }
