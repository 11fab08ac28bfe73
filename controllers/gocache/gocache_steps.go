package gocache

import (
	"context"

	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/controllers/gocache/snapshots"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/writer"
)

// progress is what one pass did, for the conditions and events.
type progress struct {
	began       writer.Action            // what a writer was started for, and why
	beganFor    string                   //
	waits       map[writer.Action]string // what due actions wait for
	snapshots   snapshots.Result
	replacement replacement.Result
}

// bookUsage writes how full a run found the file system of the claim, if it
// could tell.
func (s *scope) bookUsage(used, available int64) {
	if used == 0 && available == 0 || !s.RanOnPVC() {
		return
	}
	status := &s.cache.Status.Storage
	status.Used = resource.NewQuantity(used>>20<<20, resource.BinarySI) // whole MiB read better
	status.UsedPercent, status.MeasuredCapacity = growth.UsedPercent(used, available), status.Capacity
}

// provide lets the part provision have its turn.
func (r *Reconciler) provide(ctx context.Context, s *scope) error {
	out, err := provision.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}.Reconcile(ctx, s.cache, s.Observed)
	s.result.Add(out.Result)
	return err
}

// snapshot lets the part snapshots have its turn.
func (r *Reconciler) snapshot(ctx context.Context, s *scope) (err error) {
	s.done.snapshots, err = r.snapshots().Reconcile(ctx, s.cache, s.Observed)
	s.result.Add(s.done.snapshots.Result)
	return err
}

func (r *Reconciler) snapshots() snapshots.Reconciler {
	return snapshots.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}

func (r *Reconciler) replacement() replacement.Reconciler {
	return replacement.Reconciler{
		Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Image: r.Images.Operator, TakeSnapshot: r.snapshots().Take,
	}
}

// replace lets the part replacement have its turn.
func (r *Reconciler) replace(ctx context.Context, s *scope) error {
	return s.replaced(r.replacement().Reconcile(ctx, s.cache, s.Observed))
}

// resumeReplacement continues a replacement that has touched the cache PVC.
func (r *Reconciler) resumeReplacement(ctx context.Context, s *scope) error {
	return s.replaced(r.replacement().Resume(ctx, s.cache, s.Observed))
}

// replaced hands on what became of the volume: from here on, all parts see the
// PVC that took the place of the one that was observed.
func (s *scope) replaced(out replacement.Result, err error) error {
	s.done.replacement = out
	s.result.Add(out.Result)
	if out.Replaced {
		s.PVC = out.PVC
		provision.Record(s.cache, s.Observed)
	}
	return err
}
