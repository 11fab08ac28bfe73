package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	// Message says what was wrong, for a person.
	Message string
}

// Target is an instance.
type Target struct {
	// Base is its URL.
	Base string
	// Agent is the URL of the agent beside its store; empty: there is none.
	Agent string
	// HTTP asks it; nil is http.DefaultClient.
	HTTP *http.Client
}

// Page is what tells whether an instance is ready.
type Page int

// The pages.
const (
	// OwnPage is the readiness page of our own server, which means it.
	OwnPage Page = iota
	// AgentPage is that of the agent beside the store.
	AgentPage
	// AnyPage is the root of a server that nothing is known of: every answer
	// is a sign of life, but one that says that the server is in trouble.
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
		return fail(err)
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return fail(err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 512))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fail(err)
	}
	alive := page == AnyPage && resp.StatusCode < http.StatusInternalServerError
	if !alive && resp.StatusCode/100 != 2 {
		return Result{Failed, fmt.Sprintf("GET %s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))}
	}
	return Result{Outcome: Passed}
}

func fail(err error) Result { return Result{Failed, err.Error()} }

func (t Target) http() *http.Client {
	if t.HTTP == nil {
		return http.DefaultClient
	}
	return t.HTTP
}
