package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/redact"
)

const (
	// peerTimeout is how long another instance may take to begin an answer: it has
	// the file or not.
	peerTimeout = time.Second
	// peerPause is how long an instance is not asked first after it did not answer.
	peerPause = 30 * time.Second
)

// peers are the other instances of the proxy. Only what they have stored is asked
// for, so that no request goes on from one to the next, and what they answer is
// checked like the answer of an upstream.
type peers struct {
	list []*peer
	// quarantined is a file with the URLs of those that are not to be asked, one a
	// line; empty: there is none.
	quarantined string
	asker       asker
	metrics     *metrics
	now         func() time.Time

	mu      sync.Mutex
	checked time.Time
	refused map[string]bool // URLs of the file
}

// quarantineEvery is how often the file is read, at a request.
const quarantineEvery = time.Second

// isQuarantined reports whether an instance is. Without the file none is: an
// operator of an earlier version does not write it.
func (p *peers) isQuarantined(other *peer) bool {
	if p.quarantined == "" {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); now.Sub(p.checked) >= quarantineEvery || now.Before(p.checked) {
		p.checked = now
		text, err := os.ReadFile(p.quarantined)
		if err == nil || errors.Is(err, fs.ErrNotExist) { // else what was known holds
			p.refused = map[string]bool{}
			for _, address := range strings.Fields(string(text)) {
				p.refused[strings.TrimSuffix(address, "/")] = true
			}
		}
	}
	return p.refused[other.address]
}

// peer is another instance.
type peer struct {
	address string // as it was given
	base    *url.URL
	pause   atomic.Int64 // until when, in nanoseconds since 1970
}

// newPeers reads the addresses of the other instances.
func newPeers(addresses []string, quarantined string, m *metrics, now func() time.Time) (*peers, error) {
	// Neither a proxy for requests to the outside nor credentials are for them.
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: peerTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: peerTimeout,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p := &peers{asker: asker{client: client, stall: stallAfter, received: m.receivedFromPeer}, quarantined: quarantined, metrics: m, now: now}
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is not the URL of another instance, such as http://NAME:8080", redact.URL(address))
		}
		p.list = append(p.list, &peer{address: strings.TrimSuffix(address, "/"), base: u.JoinPath("/")})
	}
	return p, nil
}

// ask one of them for a file that it has stored.
func (p *peers) ask(ctx context.Context, from *peer, name string, take func(*http.Response) error) error {
	err := p.asker.ask(ctx, fileURL(from.base, name), http.Header{storeOnlyHeader: {"true"}}, peerTimeout, take)
	_, answered := errors.AsType[*statusError](err)
	switch {
	case err == nil:
		p.metrics.peer("hit")
	case answered:
		p.metrics.peer("miss")
	default:
		p.metrics.peer("failed")
		if _, wrong := errors.AsType[*badAnswer](err); !wrong && !isFinal(err) && ctx.Err() == nil {
			from.pause.Store(p.now().Add(peerPause).UnixNano())
		}
	}
	return err
}

// first asks those that answered lately, one after the other, until take accepts
// an answer. unasked are the others. An error is final.
func (p *peers) first(ctx context.Context, name string, take func(*http.Response) error) (found bool, unasked []*peer, err error) {
	for _, other := range p.list {
		if p.isQuarantined(other) {
			continue
		}
		if p.now().UnixNano() < other.pause.Load() {
			unasked = append(unasked, other)
			continue
		}
		switch err := p.ask(ctx, other, name, take); {
		case err == nil:
			return true, nil, nil
		case isFinal(err), ctx.Err() != nil:
			return false, nil, err
		}
	}
	return false, unasked, nil
}

// newest adds what other instances have stored of a file that may change to what
// this one has.
func (f *fetcher) newest(ctx context.Context, t target) {
	if len(f.peers.list) == 0 {
		return
	}
	known := f.known(t)
	if known != nil && t.kind != modcache.List && t.module.Version != "latest" {
		return // no order among the answers to a query
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, other := range f.peers.list {
		if f.peers.isQuarantined(other) || f.peers.now().UnixNano() < other.pause.Load() && known != nil {
			continue
		}
		asked.Go(func() {
			_ = f.peers.ask(ctx, other, t.name, func(resp *http.Response) error { // counted by itself
				text, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
				if err != nil {
					return broken(err)
				}
				if text, err = f.checkText(ctx, t, text); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				f.advance(t, text)
				return nil
			})
		})
	}
	asked.Wait()
}

// walk looks for a file at the other instances, then at the upstream, and then at
// the instances that were not asked.
func (f *fetcher) walk(ctx context.Context, fl *flight, take func(*http.Response) error) error {
	if fl.mutable {
		return f.source(ctx, fl.target, take)
	}
	found, unasked, err := f.peers.first(ctx, fl.name, take)
	if found || err != nil {
		return err
	}
	err = f.source(ctx, fl.target, take)
	if refused, ok := errors.AsType[*statusError](err); err == nil || isFinal(err) || ok && refused.final() {
		return err
	}
	for _, other := range unasked { // none of them is quarantined
		if again := f.peers.ask(ctx, other, fl.name, take); again == nil || isFinal(again) {
			return again
		}
	}
	return err
}

// SplitPeers reads a list of addresses, separated by commas.
func SplitPeers(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
