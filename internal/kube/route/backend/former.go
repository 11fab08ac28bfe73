package backend

import (
	"context"
	"errors"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/gateway"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/service"
)

// former are the routers of other types that may be left; nil: none of the kind.
type former struct {
	haproxy *haproxy.Router
	service *service.Router
	gateway *gateway.Router
}

// set publishes the intent to those that clients may still use.
func (f former) set(ctx context.Context, servers []route.Server) error {
	var errs []error
	if f.haproxy != nil {
		stands, err := haproxyStands(ctx, f.haproxy)
		if stands {
			err = f.haproxy.Set(ctx, servers)
		}
		errs = append(errs, err)
	}
	if f.service != nil {
		errs = append(errs, setService(ctx, f.service, servers))
	}
	return errors.Join(errs...)
}

// haproxyStands reports whether there is a Deployment. A stale cache, after it
// was deleted, must not cause its weights to be created again.
func haproxyStands(ctx context.Context, r *haproxy.Router) (bool, error) {
	if stands, err := r.Stands(ctx); err != nil || !stands {
		return false, err
	}
	d, err := read.Object[appsv1.Deployment](ctx, r.Applier.Live, r.Params.Namespace, haproxy.RouterName(r.Params.Name))
	return d != nil && metav1.IsControlledBy(d, r.Object), err
}

// setService publishes the intent to a Service that led to the instances before
// a Gateway did, as far as one that leads to one of them can follow.
func setService(ctx context.Context, r *service.Router, servers []route.Server) error {
	live, err := r.Live(ctx)
	if err != nil || live == nil {
		return err
	}
	if _, ours := direct.Intent(live); !ours {
		return nil // HAProxy's
	}
	desired, used := slices.Clone(servers), false
	for i := range desired {
		if desired[i].State == route.Ready && used {
			desired[i] = route.Server{Name: desired[i].Name, State: route.Drain}
		}
		used = used || desired[i].State == route.Ready
	}
	return r.Set(ctx, desired)
}

// remove deletes what is left. The HTTPRoute goes at once, the others when the
// present router has settled.
func (f former) remove(ctx context.Context, status *v1alpha1.ModProxyStatus, settled bool) error {
	if f.gateway != nil {
		if err := f.gateway.Remove(ctx); err != nil {
			return err
		}
		status.HTTPRoute = ""
	}
	if !settled {
		return nil
	}
	if f.service != nil {
		if err := f.service.Remove(ctx); err != nil {
			return err
		}
	}
	if f.haproxy == nil {
		return nil
	}
	if stands, err := f.haproxy.Stands(ctx); err != nil || !stands {
		return err
	}
	return f.haproxy.Remove(ctx)
}
