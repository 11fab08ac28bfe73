package haproxy

import (
	"context"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
)

// Router implements route.Router.
type Router struct {
	// Owner identifies the object that the router belongs to: its UID.
	Owner string
	// Publisher keeps the weights.
	Publisher Publisher
	// Replicas finds the running routers.
	Replicas func(ctx context.Context) ([]Replica, error)
	// Starting finds those too that take no clients yet.
	Starting func(ctx context.Context) ([]Replica, error)
	// HTTP reads their metrics; nil means http.DefaultClient.
	HTTP *http.Client
	// Applier, Object and Params are for Ensure, URL and Remove: how the
	// objects are made, their owner, and their content.
	Applier apply.Applier
	Object  client.Object
	Params  Params
}

var _ route.Router = (*Router)(nil)

// Limits implements route.Router: it has none, and what it does is seen.
func (*Router) Limits() route.Limits { return route.Limits{} }

// Set implements route.Router.
func (r *Router) Set(ctx context.Context, servers []route.Server) error {
	return publish(ctx, r.Publisher, r.Owner, servers)
}

// Observe implements route.Router.
func (r *Router) Observe(ctx context.Context) (route.Observation, error) {
	replicas, err := r.Replicas(ctx)
	if err != nil {
		return route.Observation{}, err
	}
	return observe(ctx, r.http(), replicas), nil
}

// http follows no redirect, which could lead to an address that the operator alone can
// reach.
func (r *Router) http() *http.Client {
	c := http.Client{}
	if r.HTTP != nil {
		c = *r.HTTP
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}
