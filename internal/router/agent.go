package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"gocache.dev/operator/internal/router/weights"
)

const (
	// LastResort before a server's name asks for the second backend.
	LastResort = "last-resort/"
	// exchangeTimeout limits one question and its answer.
	exchangeTimeout = 2 * time.Second
	maxQuestion     = 128
	// askedWithin is how recent HAProxy's questions must be for the router to
	// be ready: ten of its intervals.
	askedWithin = 5 * time.Second
)

// agent answers HAProxy's agent-check.
type agent struct {
	intent  *Intent
	servers []string // that HAProxy must ask for; none: those of the intent
	metrics *metrics
	now     func() time.Time
	log     logr.Logger

	mu      sync.Mutex
	asked   map[string]time.Time // server → its last question of the first backend
	unknown map[string]bool      // logged already
}

func newAgent(intent *Intent, servers []string, m *metrics, now func() time.Time, log logr.Logger) *agent {
	return &agent{intent: intent, servers: servers, metrics: m, now: now, log: log, asked: map[string]time.Time{}, unknown: map[string]bool{}}
}

// serve answers on the listener until ctx ends.
func (a *agent) serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept reports it
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("agent-check: %w", err)
		}
		open.Go(func() {
			if err := a.exchange(conn); err != nil {
				a.log.V(1).Info("An agent-check ended early", "reason", err.Error())
			}
		})
	}
}

// exchange reads one line and answers with one.
func (a *agent) exchange(conn net.Conn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(a.now().Add(exchangeTimeout)); err != nil {
		return err
	}
	question, err := bufio.NewReader(io.LimitReader(conn, maxQuestion)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the question: %w", err)
	}
	_, err = io.WriteString(conn, a.answer(strings.TrimSpace(question))+"\n")
	return err
}

// answer is the table of the package comment.
func (a *agent) answer(question string) string {
	name, lastResort := strings.CutPrefix(question, LastResort)
	current, _ := a.intent.Current()
	server, known := current.Servers[name]
	if !known {
		a.reportUnknown(name)
		server.State = weights.Down
	}
	if known && !lastResort {
		a.metrics.answers.WithLabelValues(name, string(server.State)).Inc()
	}
	if !lastResort && (known || slices.Contains(a.servers, name)) {
		a.mu.Lock()
		a.asked[name] = a.now()
		a.mu.Unlock()
	}
	switch {
	case server.State == weights.Down:
		return "down"
	case server.State == weights.Ready && lastResort:
		return "ready up 100%"
	case server.State == weights.Ready:
		return fmt.Sprintf("ready up %d%%", server.Weight)
	case lastResort:
		return "ready up 1%"
	default:
		return "drain"
	}
}

func (a *agent) reportUnknown(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unknown[name] || len(a.unknown) >= maxQuestion {
		return
	}
	a.unknown[name] = true
	a.log.Info("HAProxy asks for a server that the weights do not name; it stays down", "server", name)
}

// problem is why the router is not ready, or empty: HAProxy must have polled
// every server that it is configured with recently. Before that it answers 503 to
// everything. A server that is in the weights alone does not count: it is for the next
// HAProxy.
func (a *agent) problem() string {
	current, known := a.intent.Current()
	if !known {
		return "there are no weights yet"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	servers := a.servers
	if len(servers) == 0 {
		servers = slices.Sorted(maps.Keys(current.Servers))
	} else if !slices.ContainsFunc(servers, func(name string) bool { _, named := current.Servers[name]; return named }) {
		return "the weights name no server of this HAProxy yet"
	}
	for _, name := range servers {
		if at, ok := a.asked[name]; !ok || a.now().Sub(at) > askedWithin {
			return fmt.Sprintf("HAProxy has not asked for server %s within %s", name, askedWithin)
		}
	}
	return ""
}
