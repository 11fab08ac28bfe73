package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
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

// Canary is a module version that a healthy instance serves.
type Canary struct {
	// Module and its version.
	Module module.Version
	// Zip and Mod are the h1 hashes that go.sum has of it; empty: not known.
	Zip, Mod string
}

// maxCanary bounds a canary's archive, in bytes: it is held in memory.
const maxCanary = 32 << 20

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

// Canaries asks for each canary and says whether the instance spoke the
// protocol, and whether the bytes were right. The first that fails decides.
func (t Target) Canaries(ctx context.Context, canaries []Canary) (protocol, checksum Result) {
	for _, c := range canaries {
		p, s := t.canary(ctx, c)
		protocol, checksum = worse(protocol, p), worse(checksum, s)
	}
	return protocol, checksum
}

func (t Target) canary(ctx context.Context, c Canary) (protocol, checksum Result) {
	client := &goproxy.Client{Base: t.Base, HTTP: t.http(), MaxZip: maxCanary, CacheOnly: true}
	_, err := client.Info(ctx, c.Module)
	if errors.Is(err, goproxy.ErrNotFound) { // not in the store yet: fetch it once
		client.CacheOnly = false
		_, err = client.Info(ctx, c.Module)
	}
	if err != nil {
		return cannot(err)
	}
	sums, err := client.Sums(ctx, c.Module)
	if err != nil {
		return cannot(err)
	}
	return Result{Outcome: Passed}, compare(c, sums)
}

// cannot sorts an error: what the upstream lacks says nothing of the instance,
// and an answer that is complete and unreadable is wrong bytes.
func cannot(err error) (protocol, checksum Result) {
	switch {
	case errors.Is(err, goproxy.ErrNotFound):
		return Result{Unknown, err.Error()}, Result{Unknown, err.Error()}
	case errors.Is(err, goproxy.ErrMalformed):
		return fail(err), fail(err)
	default:
		return fail(err), Result{Unknown, err.Error()}
	}
}

func compare(c Canary, got goproxy.Sums) Result {
	for _, sum := range []struct{ file, want, got string }{
		{"archive", c.Zip, got.Zip},
		{"go.mod", c.Mod, got.Mod},
	} {
		if sum.want != "" && sum.want != sum.got {
			return Result{Failed, fmt.Sprintf("the %s of %s has sum %s, want %s", sum.file, c.Module, sum.got, sum.want)}
		}
	}
	if c.Zip == "" && c.Mod == "" {
		return Result{Unknown, "no sum to compare with"}
	}
	return Result{Outcome: Passed}
}

// worse keeps a failure, then what could not be found out, then success.
func worse(a, b Result) Result {
	rank := map[Outcome]int{Passed: 0, Unknown: 1, Failed: 2}
	switch {
	case a == Result{}: // nothing was asked yet
		return b
	case rank[b.Outcome] > rank[a.Outcome]:
		return b
	default:
		return a
	}
}

func fail(err error) Result { return Result{Failed, err.Error()} }

func (t Target) http() *http.Client {
	if t.HTTP == nil {
		return http.DefaultClient
	}
	return t.HTTP
}
