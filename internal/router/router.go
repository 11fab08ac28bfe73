package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"gocache.dev/operator/internal/router/certificate"
)

// Options configure the sidecar.
type Options struct {
	// Agent is the address HAProxy asks, on loopback.
	Agent string
	// Pages is the address of /healthz, /readyz and /metrics.
	Pages string
	// Servers that HAProxy is configured with: the router is ready when it has asked for
	// all of them. None are those of the weights.
	Servers []string
	// File holds the intent at the start, and is read again every Interval.
	File     string
	Interval time.Duration
	// Client watches ConfigMap Name in Namespace; nil means the file alone.
	Client          kubernetes.Interface
	Namespace, Name string
	// Answers configures how answers reach clients complete and unaltered.
	Answers AnswersOptions
	// Certificate is where the router's certificate comes from.
	Certificate CertificateOptions
	// Clients are which clients the router serves.
	Clients ClientsOptions
	// Now is the clock.
	Now func() time.Time
	// Log gets changes and errors.
	Log logr.Logger
}

// Run answers HAProxy until ctx ends or something fails that a restart could
// cure.
func Run(ctx context.Context, o Options) error {
	m := newMetrics()
	intent := newIntent(o.Log, m)
	a := newAgent(intent, o.Servers, m, o.Now, o.Log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		followFile(ctx, intent, o.File, o.Interval)
		return nil
	})
	if o.Client != nil {
		group.Go(func() error { return followConfigMap(ctx, intent, o.Client, o.Namespace, o.Name, o.Log) })
	}
	c := &certificates{options: o.Certificate, metrics: m, now: o.Now, log: o.Log}
	if o.Certificate.Directory != "" {
		group.Go(func() error {
			c.follow(ctx, o.Interval)
			return nil
		})
	}
	admitted := &clients{options: o.Clients, now: o.Now, log: o.Log}
	if o.Clients.Directory != "" {
		admitted.bring(ctx) // before the pages answer: HAProxy starts after them, and reads the file
		group.Go(func() error {
			admitted.follow(ctx, o.Interval)
			return nil
		})
	}
	if o.Answers.Listen != "" {
		answers, err := newAnswers(o.Answers, m, o.Log)
		if err != nil {
			return err
		}
		answers.outage.coming = intent.mayServe
		answers.refusals.serves = intent.serves
		// A download takes as long as its client likes: HAProxy ends it.
		group.Go(func() error { return serve(ctx, o.Answers.Listen, answers.handler(), 0) })
	}
	group.Go(func() error { return serve(ctx, o.Pages, pages(a, m, c, admitted), time.Minute) })
	group.Go(func() error {
		select {
		case <-intent.Loaded():
		case <-ctx.Done():
			return nil
		}
		listener, err := listen(ctx, o.Agent)
		if err != nil {
			return err
		}
		o.Log.Info("Answering HAProxy", "address", listener.Addr().String())
		return a.serve(ctx, listener)
	})
	return group.Wait()
}

func pages(a *agent, m *metrics, c *certificates, admitted *clients) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if problem := cmp.Or(a.problem(), admitted.problem()); problem != "" {
			http.Error(w, problem, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET "+certificate.Path, c.page)
	mux.Handle("GET /metrics", m.handler())
	return mux
}

// serve answers at an address until ctx ends, each request within a time; 0 is
// no bound.
func serve(ctx context.Context, address string, handler http.Handler, within time.Duration) error {
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: within, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve reports it
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}
