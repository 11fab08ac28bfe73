package manager

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// connect makes the manager as soon as the API server answers, and returns the
// addresses of the API server with it. Until then /healthz succeeds and /readyz
// fails: a process that ends while the API server is away is kept away by the
// kubelet for up to five minutes after the API server is back.
func (o *options) connect(ctx context.Context, cfg *rest.Config) (ctrlmanager.Manager, []netip.AddrPort, error) {
	a := &attempts{host: cfg.Host, pauses: pauses(), now: time.Now}
	for {
		apiServer, err := o.reach(ctx, cfg, a)
		if err != nil {
			return nil, nil, err
		}
		mgr, err := ctrl.NewManager(cfg, o.manager())
		if err == nil {
			return mgr, apiServer, nil
		}
		if _, away := locate(ctx, cfg); away == nil {
			return nil, nil, fmt.Errorf("make the manager: %w", err)
		}
		if err := a.failed(ctx, err); err != nil {
			return nil, nil, err
		}
	}
}

// reach waits until the API server answers. It serves the probes of the kubelet
// while it waits, and not afterwards: the manager listens at the same address.
func (o *options) reach(ctx context.Context, cfg *rest.Config, a *attempts) ([]netip.AddrPort, error) {
	apiServer, err := locate(ctx, cfg)
	if err == nil {
		return apiServer, nil
	}
	last := &atomic.Value{}
	stop := o.serveProbes(ctx, last)
	defer stop()
	for {
		last.Store(err.Error())
		if err := a.failed(ctx, err); err != nil {
			return nil, err
		}
		if apiServer, err = locate(ctx, cfg); err == nil {
			ctrl.Log.Info("Reached the API server", "address", cfg.Host)
			return apiServer, nil
		}
	}
}

// locate asks the API server for its addresses.
func locate(ctx context.Context, cfg *rest.Config) ([]netip.AddrPort, error) {
	bounded := rest.CopyConfig(cfg)
	bounded.Timeout = attemptTimeout
	c, err := client.New(bounded, client.Options{Scheme: newScheme()})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	// An API server that starts refuses everything until it has read the roles. What
	// every account may read shows that it has: a list of EndpointSlices that is
	// refused then is one that this installation may not read.
	if _, err := c.RESTMapper().RESTMapping(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind()); err != nil {
		return nil, fmt.Errorf("read which kinds the API server has: %w", err)
	}
	return addressesOf(ctx, cfg.Host, c)
}

// serveProbes answers the kubelet until the returned function is called: live,
// and not ready for what is in last.
func (o *options) serveProbes(ctx context.Context, last *atomic.Value) (stop func()) {
	if o.probeAddress == "" || o.probeAddress == "0" {
		return func() {}
	}
	live := &healthz.Handler{Checks: map[string]healthz.Checker{"ping": healthz.Ping}}
	ready := &healthz.Handler{Checks: map[string]healthz.Checker{"api-server": func(*http.Request) error {
		return fmt.Errorf("the API server cannot be reached: %v", last.Load())
	}}}
	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{"/healthz": live, "/readyz": ready} {
		mux.Handle(path, http.StripPrefix(path, handler))
		mux.Handle(path+"/", http.StripPrefix(path, handler))
	}
	grace := time.Second
	server := ctrlmanager.Server{
		Name: "health probe until the API server is reached", ShutdownTimeout: &grace,
		Server: &http.Server{Addr: o.probeAddress, Handler: mux, ReadHeaderTimeout: attemptTimeout},
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Start(ctx); err != nil {
			ctrl.Log.Error(err, "Cannot serve the probes of the kubelet", "address", o.probeAddress)
		}
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(2 * grace):
		}
	}
}
