// Package controllers lists the controllers of the operator.
package controllers

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"gocache.dev/operator/controllers/cacherequest"
	"gocache.dev/operator/controllers/cachesnapshot"
	"gocache.dev/operator/controllers/gocache"
	"gocache.dev/operator/controllers/modproxy"
	"gocache.dev/operator/controllers/populator"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/pushes"
)

// Deps are what controllers need from outside.
type Deps struct {
	// Clock is the time of a pass.
	Clock func() time.Time
	// Images of the pods that are made.
	Images images.Images
	// ManagerNamespace is where this process runs; empty: outside of the cluster.
	ManagerNamespace string
	// Filter of the addresses that users choose: git servers, webhooks and
	// external instances.
	Filter *untrusted.Filter
	// Proxies that this process and the Jobs of GoCaches reach git servers and the
	// sources of modules through.
	Proxies egress.Proxies
	// MaxSnapshots and MaxVerifications bound how many snapshots are created,
	// and verified, at once in the whole cluster; 0 is no bound.
	MaxSnapshots, MaxVerifications int
	// Metrics exports the gauges of objects.
	Metrics *gauges.Exporter
	// Pushes receives push webhooks; nil: none are received.
	Pushes *pushes.Receiver
}

// Setup registers every controller with a manager. It is the only list of them.
func Setup(mgr ctrl.Manager, d Deps) error {
	if err := csisnapshot.Index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	filler := &populator.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("gocache-populator"), Clock: d.Clock,
	}
	caches := &gocache.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Indexed: true, Events: mgr.GetEventRecorder("gocache-controller"), Clock: d.Clock, Images: d.Images, Filter: d.Filter,
		Proxies: d.Proxies,
	}
	if d.Pushes != nil { // an interface with a nil pointer is not nil
		caches.Pushes = d.Pushes
	}
	for _, c := range []struct {
		name       string
		controller interface{ SetupWithManager(ctrl.Manager) error }
	}{
		{"gocache", caches},
		{"cachesnapshot", &cachesnapshot.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("cachesnapshot-controller"), Clock: d.Clock, Images: d.Images,
			MaxSnapshots: d.MaxSnapshots, MaxVerifications: d.MaxVerifications,
		}},
		{"modproxy", &modproxy.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Indexed: true, Events: mgr.GetEventRecorder("modproxy-controller"), Clock: d.Clock, Images: d.Images, Filter: d.Filter,
			ManagerNamespace: d.ManagerNamespace,
		}},
		{"cacherequest", &cacherequest.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("cacherequest-controller"), Clock: d.Clock,
		}},
		{"populator", filler},
	} {
		if err := c.controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up controller %s: %w", c.name, err)
		}
	}
	d.Metrics.ExportManager(mgr, gocache.Gauges(), cachesnapshot.Gauges(), modproxy.Gauges(), cacherequest.Gauges(), filler.Gauges())
	return nil
}
