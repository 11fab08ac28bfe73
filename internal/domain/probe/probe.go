package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

// Outcome of a probe.
type Outcome int

// The outcomes.
const (
	Unknown Outcome = iota
	Passed
	Failed
)

// Result of a probe.
type Result struct {
	// Outcome of it.
	Outcome Outcome
	// Message describes the failure.
	Message string
}

// Target is an instance.
type Target struct {
	// Base is its URL.
	Base string
	// Pages is the URL of what our own server reports to the operator; empty: it reports
	// nothing.
	Pages string
	// Agent is the URL of the agent beside its store; empty: there is none.
	Agent string
	// Token makes the agent take orders; empty: it takes none.
	Token string
	// Own means that its server is our own: why its upstream gave no answer becomes
	// a part of the messages.
	Own bool
	// HTTP asks it; nil is http.DefaultClient.
	HTTP *http.Client
}

// Page is the page that reports whether an instance is ready.
type Page int

// The pages.
const (
	// OwnPage is the readiness page of our own server, which means it.
	OwnPage Page = iota
	// AgentPage is that of the agent beside the store.
	AgentPage
	// AnyPage is the root of an unknown server: every answer shows that it
	// runs, except one with a server error.
	AnyPage
)

// Ready asks whether the instance is ready.
func (t Target) Ready(ctx context.Context, page Page) Result {
	url := strings.TrimSuffix(t.Base, "/") + ReadyPath
	switch page {
	case OwnPage:
	case AgentPage:
		url = strings.TrimSuffix(t.Agent, "/") + ReadyPath
	case AnyPage:
		url = strings.TrimSuffix(t.Base, "/") + "/"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fail(unusable(url))
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return failed(url, err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 512))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return failed(url, err)
	}
	alive := page == AnyPage && resp.StatusCode < http.StatusInternalServerError
	if !alive && resp.StatusCode/100 != 2 {
		return Result{Failed, fmt.Sprintf("GET %s: status %d", redact.URL(url), resp.StatusCode)}
	}
	return Result{Outcome: Passed}
}

// ErrLocal is wrapped by an error of the HTTP client that has its cause on this
// side. It is no fault of the instance.
var ErrLocal = errors.New("the probe was not made")

// fail is a failure of the instance, unless its cause is on this side.
func fail(err error) Result {
	result := Result{Failed, untrusted.Bound(err.Error())}
	if errors.Is(err, ErrLocal) {
		result = Result{Unknown, ErrLocal.Error()}
	}
	return result
}

// failed is a request that failed, without anything that the instance sent.
func failed(url string, err error) Result {
	if errors.Is(err, ErrLocal) {
		return Result{Unknown, ErrLocal.Error()}
	}
	return Result{Failed, untrusted.Bound("GET " + redact.URL(url) + ": " + untrusted.Cause(err))}
}

// unusable is the error of an address that no request can be made for. That of the
// library quotes it.
func unusable(url string) error {
	return fmt.Errorf("GET %s: the address cannot be requested", redact.URL(url))
}

func (t Target) http() *http.Client {
	if t.HTTP == nil {
		return http.DefaultClient
	}
	return t.HTTP
}
