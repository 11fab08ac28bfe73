package router

import (
	"sync"

	"github.com/go-logr/logr"

	"gocache.dev/operator/internal/router/weights"
)

// Intent holds the newest good weights. It is safe for concurrent use.
type Intent struct {
	log     logr.Logger
	metrics *metrics

	mu      sync.RWMutex
	current weights.Weights
	known   bool
	loaded  chan struct{}
}

func newIntent(log logr.Logger, m *metrics) *Intent {
	return &Intent{log: log, metrics: m, loaded: make(chan struct{})}
}

// Offer hands over a text that a source has found. Malformed ones are logged
// and change nothing; so does one that is not newer.
func (i *Intent) Offer(source string, text []byte) {
	w, err := weights.Parse(text)
	if err != nil {
		i.refuse(source, err)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known && !w.Newer(i.current) {
		return
	}
	i.log.Info("The weights have changed", "source", source, "owner", w.Owner, "generation", w.Generation, "servers", w.Servers)
	i.current = w
	i.metrics.generation.Set(float64(w.Generation))
	if !i.known {
		i.known = true
		close(i.loaded)
	}
}

// refuse notes that a source had nothing good to offer.
func (i *Intent) refuse(source string, err error) {
	i.metrics.errors.WithLabelValues(source).Inc()
	i.log.Error(err, "The weights stay as they were", "source", source)
}

// Loaded is closed when there is an intent.
func (i *Intent) Loaded() <-chan struct{} { return i.loaded }

// Current returns the weights in force, and false before there are any.
func (i *Intent) Current() (weights.Weights, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.current, i.known
}

// mayServe reports whether any server may get a request, now or when it comes
// back: one that is not down.
func (i *Intent) mayServe() bool {
	current, known := i.Current()
	for _, server := range current.Servers {
		if server.State != weights.Down {
			return true
		}
	}
	return !known
}

// serves reports whether a server is to get requests. Before there are weights,
// each one is.
func (i *Intent) serves(server string) bool {
	current, known := i.Current()
	return !known || current.Servers[server].State == weights.Ready
}
