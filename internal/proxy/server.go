package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/goproxy/goproxy"
	"golang.org/x/sync/semaphore"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/redact"
)

// Options configure a Server. Zero values of numbers and durations mean the
// default named beside them.
type Options struct {
	// Store is the directory that holds the modules.
	Store string
	// Environment is where modules come from; see ToolchainEnvironment.
	Environment Environment
	// Credentials is a directory with the file netrc, or the files username and
	// password for the upstream proxies; empty: there are none.
	Credentials string
	// CredentialsHosts are the hosts that credentials may be sent to, in the format
	// of package hosts; empty: all hosts that they are for.
	CredentialsHosts string
	// Peers are the URLs of the other instances of the proxy. They are asked for
	// what they have stored, before the upstream and when it does not have a file.
	Peers []string
	// QuarantinedPeers is a file with the URLs of those of Peers that are quarantined,
	// one a line. It is read again; they are not asked. Empty: none are.
	QuarantinedPeers string
	// Policy is a file with which versions are served, in the format of package
	// policy. It is read again when it changes. Empty: all are.
	Policy string
	// VersionControl is the URL of a GOPROXY server that fetches from version
	// control: it alone is asked for modules that match PrivateModules, and no
	// checksum database for them. Empty: they come from the upstream.
	VersionControl string
	// PrivateModules are patterns of module paths, in the syntax of GOPRIVATE.
	PrivateModules string
	// Name is this instance's name in answers and logs.
	Name string
	// TempDir is for fetches under way; default os.TempDir.
	TempDir string
	// FetchTimeout limits how long an upstream may take to begin an answer, or to
	// give all of a text, 10 minutes. An archive may take six times as long, while
	// it arrives without a pause of a minute.
	FetchTimeout time.Duration
	// MaxFetches limits how many archives of up to 8 MiB are fetched at once, 32, of
	// other files four times as many. One client has at most half of them.
	MaxFetches int
	// MaxFetchBytes limits the sum of the sizes of the larger archives that are
	// fetched at once, 2 GiB. One client has at most half of it.
	MaxFetchBytes int64
	// MaxRequests limits how many requests are served at once, 1024.
	MaxRequests int
	// MaxUsedPercent of the store's volume: beyond it archives are removed that were
	// not served for the longest time. 0: none are. Without an upstream none are either.
	MaxUsedPercent int
	// VolumeSize is the size of the store's volume in bytes. Where its file system is
	// larger, others share it, and only the volume's own files count. 0: not known.
	VolumeSize int64
	// MinFree is how many bytes the store's volume must have left, 64 MiB.
	MinFree uint64
	// ReadyTimeout limits a look at the store, 1 second.
	ReadyTimeout time.Duration
	// Now is the clock.
	Now func() time.Time
	// Log gets one entry per request.
	Log logr.Logger
}

func (o *Options) setDefaults() {
	setDefault(&o.TempDir, os.TempDir())
	setDefault(&o.FetchTimeout, 10*time.Minute)
	setDefault(&o.MaxFetches, 32)
	setDefault(&o.MaxFetchBytes, 2<<30)
	setDefault(&o.MaxRequests, 1024)
	setDefault(&o.MinFree, 64<<20)
	setDefault(&o.ReadyTimeout, time.Second)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server is one GOPROXY instance. It is an http.Handler; Serve gives it a
// listener and an end.
type Server struct {
	name         string
	library      *goproxy.Goproxy // for the pages of a checksum database
	fetcher      *fetcher
	moved        *movedTags
	direct       string // GONOPROXY patterns; what matches is not fetched here
	store        *Store
	rules        *rules
	metrics      *metrics
	ready        *readiness
	slots        *semaphore.Weighted
	private      func(modulePath string) bool
	fetchTimeout time.Duration
	now          func() time.Time
	log          logr.Logger
	handler      http.Handler
}

// New opens the store and prepares the instance.
func New(o Options) (*Server, error) {
	o.setDefaults()
	env, err := o.Environment.WithoutDirect()
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	store, err := OpenStore(o.Store, o.Now, o.Log.WithName("store"), m)
	if err != nil {
		return nil, err
	}
	store.usage.size = o.VolumeSize
	_, _ = store.usage.space() // begins to count, where that is needed
	up, err := newUpstream(env, o.Credentials, o.CredentialsHosts, o.FetchTimeout, m, o.Now)
	if err != nil {
		return nil, err
	}
	vcs, err := newVersionControl(o.VersionControl, o.PrivateModules, up)
	if err != nil {
		return nil, err
	}
	private := func(path string) bool { return env.private(path) || vcs.serves(path) }
	s := &Server{
		name: o.Name, store: store, direct: env.direct(), metrics: m, private: private, fetchTimeout: o.FetchTimeout, now: o.Now, log: o.Log,
		slots: semaphore.NewWeighted(int64(o.MaxRequests)),
		ready: &readiness{check: func() Report { return store.Check(o.MinFree) }, timeout: o.ReadyTimeout, now: o.Now},
	}
	if s.rules, err = newRules(o.Policy, m, o.Now, o.Log); err != nil {
		return nil, err
	}
	m.watchStore(s.ready.latest, func() bool { return store.full(o.Now()) })
	m.proxies(env.SumDBName())
	if s.fetcher, err = newFetcher(o, env, store, up, vcs); err != nil {
		return nil, err
	}
	s.moved = &movedTags{fetcher: s.fetcher, timeout: min(o.FetchTimeout, comparisonTimeout), now: o.Now, log: o.Log.WithName("moved")}
	m.watchMoved(func() int { return len(s.moved.versions()) })
	s.library = &goproxy.Goproxy{
		ProxiedSumDBs: proxiedSumDBs(env),
		Cacher:        store,
		TempDir:       o.TempDir,
		Transport:     up,
		Logger:        slog.New(slog.DiscardHandler), // what went wrong is in the request's own log entry
	}
	s.handler = s.routes()
	if env.GOPROXY != "off" {
		store.evict = newEviction(store, o.MaxUsedPercent, o.MinFree, o.Now)
	}
	started := o.Now().Add(-fileLag)
	go func() { // a large store takes a while
		store.removeLeftovers(started)
		store.evict.makeRoom(0)
	}()
	if vcs != nil {
		o.Log.Info("Fetching from version control", "modules", vcs.patterns, "by", redact.Of(vcs.base))
	}
	o.Log.Info("Fetching from", "upstream", redact.List(env.GOPROXY), "checksumDatabase", env.SumDBName())
	return s, nil
}

func newFetcher(o Options, env Environment, store *Store, up *upstream, vcs *versionControl) (*fetcher, error) {
	others, err := newPeers(o.Peers, o.QuarantinedPeers, store.metrics, o.Now)
	if err != nil {
		return nil, err
	}
	f := &fetcher{
		peers: others, store: store, upstream: up, versionControl: vcs, vouched: func(path string) bool { return !env.private(path) && !vcs.serves(path) },
		tempDir: o.TempDir, timeout: o.FetchTimeout, minFree: o.MinFree, log: o.Log,
		archives: newGate(int64(o.MaxFetches)), texts: newGate(textsPerArchive * int64(o.MaxFetches)),
		bytes: newGate(o.MaxFetchBytes), large: semaphore.NewWeighted(largeTexts),
	}
	if env.GOSUMDB == "" {
		return nil, errors.New("GOSUMDB is not known: set it to the checksum database that modules are compared with, or to off")
	}
	if name := env.SumDBName(); name != "" {
		key, err := verifierKey(env.GOSUMDB)
		if err != nil {
			return nil, err
		}
		f.database = &database{name: name, key: key, upstream: up, store: store, timeout: o.FetchTimeout, now: o.Now, log: o.Log}
	}
	return f, nil
}

// proxiedSumDBs lets clients without a way out reach the checksum database.
// Whether it is listed depends on the settings alone: instances that disagree
// about it would make clients fail.
func proxiedSumDBs(env Environment) []string {
	name := env.SumDBName()
	if name == "" {
		return nil
	}
	return []string{name + " " + sumdbURL(name)}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// server for a handler, with the bounds on what clients send.
func (s *Server) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(s.log.WithName("http")), slog.LevelInfo),
	}
}

// Pages are what the instance reports to the operator and to scrapers. They are not for
// clients: they name private modules, and count what others request.
func (s *Server) Pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET "+probe.MovedPath, s.moved.serveMoved)
	return mux
}

// ServePages serves [Server.Pages] alone until ctx ends: a scraper that reaches this
// listener and not that of [Server.Serve] can get no module, and clients that reach that
// one get none of the pages. It closes the listener.
func (s *Server) ServePages(ctx context.Context, listener net.Listener) error {
	server := s.server(s.Pages())
	server.WriteTimeout = time.Minute
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // a scrape is not waited for
	defer stopped()
	if err := server.Serve(listener); ctx.Err() == nil {
		return fmt.Errorf("serve the pages: %w", err)
	}
	return nil
}

// Serve answers requests until ctx ends, then lets those under way finish for
// at most the given time. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener, tlsConfig *tls.Config, shutdownTimeout time.Duration) error {
	server := s.server(s)
	server.TLSConfig = tlsConfig
	served := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("Stopping: letting requests under way finish", "atMost", shutdownTimeout.String())
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(bounded); err != nil {
		return errors.Join(fmt.Errorf("stop within %s: %w", shutdownTimeout, err), server.Close())
	}
	return nil
}
