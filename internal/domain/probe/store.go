package probe

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
)

// Paths of the agent beside a store.
const (
	ReadyPath  = "/readyz"
	ReportPath = "/report" // GET: a StoreReport
	CheckPath  = "/check"  // POST with the token: begin a check soon
	// UnhurriedParameter of CheckPath, "false": no client is served from the
	// store.
	UnhurriedParameter = "unhurried"
)

// StoreReport is the report of the agent beside a store on its checks. Times are
// ages at the moment of the answer: two machines need not agree about the time
// of day.
type StoreReport struct {
	// Verdict of the last check that ended; nil: none did yet.
	Verdict *integrity.Verdict `json:"verdict,omitempty"`
	// Began and Ended are how long ago the last check did.
	Began time.Duration `json:"began,omitempty"`
	Ended time.Duration `json:"ended,omitempty"`
	// Running is how long ago the check under way began; nil: there is none.
	Running *time.Duration `json:"running,omitempty"`
	// Sample are at most Samples small modules that the store holds, none only if
	// it has none. It is set when Verdict is.
	Sample []Sampled `json:"sample,omitempty"`
}

// Samples is how many modules a report names.
const Samples = 3

// Sampled is a module that a store holds as a whole.
type Sampled struct {
	module.Version
	// Zip and Mod are the h1 hashes of what lay in the store when it was sampled
	// first.
	Zip, Mod string `json:",omitempty"`
}

// SampleRank ranks modules for a sample, the lowest first. It depends on the
// name alone and is as good as random, so that the first few of two stores are
// the same as far as both hold them.
func SampleRank(m module.Version) string {
	sum := sha256.Sum256([]byte(m.String()))
	return string(sum[:])
}

// maxReport bounds a report, in bytes.
const maxReport = 1 << 20

// Store asks the agent beside an instance's store for its report.
func (t Target) Store(ctx context.Context) (report StoreReport, err error) {
	body, err := t.agent(ctx, http.MethodGet, ReportPath)
	if err != nil {
		return StoreReport{}, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := json.NewDecoder(io.LimitReader(body, maxReport)).Decode(&report); err != nil {
		return StoreReport{}, fmt.Errorf("read the report of the agent at %s: %w", t.Agent, err)
	}
	if report.Verdict == nil {
		return report, nil
	}
	// A report that contradicts itself must neither quarantine nor reinstate an
	// instance.
	text, err := json.Marshal(report.Verdict)
	if err == nil {
		_, err = integrity.ParseVerdict(text)
	}
	if err != nil {
		return StoreReport{}, fmt.Errorf("the report of the agent at %s: %w", t.Agent, err)
	}
	return report, nil
}

// CheckStore asks the agent to begin a check; unhurried: slowly, as beside a
// server that serves.
func (t Target) CheckStore(ctx context.Context, unhurried bool) error {
	path := CheckPath
	if !unhurried {
		path += "?" + UnhurriedParameter + "=false"
	}
	body, err := t.agent(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	return body.Close()
}

func (t Target) agent(ctx context.Context, method, path string) (io.ReadCloser, error) {
	url := strings.TrimSuffix(t.Agent, "/") + path
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Authorization", "Bearer "+t.Token)
	}
	resp, err := t.http().Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, errors.Join(fmt.Errorf("%s %s: %s", method, url, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}
