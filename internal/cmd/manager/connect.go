package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// attemptTimeout bounds one request to the API server at the start.
	attemptTimeout = 10 * time.Second
	// unreachableFor is how long an API server may be away at the start. The
	// kubelet restarts the process afterwards, and without a long pause: a
	// container that ran for ten minutes has no back-off.
	unreachableFor = 10 * time.Minute
	// refusedFor is how long the API server may refuse the credentials. One that
	// starts refuses all of them until it has read the roles.
	refusedFor = 20 * time.Second
)

// pauses between attempts to reach the API server.
func pauses() wait.Backoff {
	return wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 10, Cap: 15 * time.Second}
}

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

// attempts to reach the API server.
type attempts struct {
	host   string
	pauses wait.Backoff
	now    func() time.Time

	began, refused time.Time // of the first failure in a row; zero: none
}

// failed logs a failed attempt and waits until the next one is due. It returns an
// error when there is none: ctx has ended, the API server refuses the
// credentials, or it has been away for too long.
func (a *attempts) failed(ctx context.Context, err error) error {
	now := a.now()
	if a.began.IsZero() {
		a.began = now
	}
	switch {
	case !incurable(err):
		a.refused = time.Time{}
	case a.refused.IsZero():
		a.refused = now
	}
	if !a.refused.IsZero() && now.Sub(a.refused) >= refusedFor {
		return fmt.Errorf("the API server at %s refuses this process, or has a certificate of an unknown authority: correct the credentials, the roles or the CA: %w", a.host, err)
	}
	if now.Sub(a.began) >= unreachableFor {
		return fmt.Errorf("the API server at %s was not reached within %s: %w", a.host, unreachableFor, err)
	}
	pause := a.pauses.Step()
	if !a.refused.IsZero() {
		pause = min(pause, refusedFor/4)
	}
	ctrl.Log.Info("Cannot reach the API server, waiting for it", "address", a.host, "error", err.Error(),
		"nextAttemptIn", pause.Round(time.Millisecond).String(), "givesUpIn", (unreachableFor - now.Sub(a.began)).Round(time.Second).String())
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the API server at %s: %w", a.host, ctx.Err())
	case <-time.After(pause):
		return nil
	}
}

// incurable reports whether an API server answered and waiting for it does not
// help: it refuses the credentials, or its certificate is not accepted.
func incurable(err error) bool {
	var certificate *tls.CertificateVerificationError
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || errors.As(err, &certificate)
}
