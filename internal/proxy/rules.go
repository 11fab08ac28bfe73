package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/policy"
)

const (
	// rulesEvery is how often the file of the policy is read, at a request.
	rulesEvery = time.Second
	// agesAtOnce bounds the requests for the times of the versions of one list.
	agesAtOnce = 8
	// maxAges bounds how many times of versions are remembered.
	maxAges = 1 << 16
	// listedInLog is how many versions one log entry names.
	listedInLog = 8
)

// rules hold the policy of a file. A file that cannot be read or parsed changes
// nothing: the last good policy stays in force.
type rules struct {
	file    string // empty: there is no policy
	metrics *metrics
	now     func() time.Time
	log     logr.Logger

	mu      sync.Mutex
	checked time.Time
	hash    string
	problem string
	policy  *policy.Policy
	ages    map[module.Version]time.Time
}

// newRules fails without a policy that can be read: nothing may be served then.
func newRules(file string, m *metrics, now func() time.Time, log logr.Logger) (*rules, error) {
	r := &rules{file: file, metrics: m, now: now, log: log, ages: map[module.Version]time.Time{}}
	if r.file == "" {
		return r, nil
	}
	if r.current(); r.policy == nil {
		return nil, fmt.Errorf("policy %s: %s", file, r.problem)
	}
	return r, nil
}

// current is the policy in force; nil: there is none.
func (r *rules) current() *policy.Policy {
	if r.file == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.checked) >= rulesEvery || now.Before(r.checked) {
		r.checked = now
		r.read()
	}
	return r.policy
}

func (r *rules) read() {
	text, err := os.ReadFile(r.file)
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:6])
	if err == nil && hash == r.hash {
		return
	}
	var p *policy.Policy
	if err == nil {
		p, err = policy.Parse(text)
	}
	if err != nil {
		if r.problem != err.Error() {
			r.problem = err.Error()
			r.log.Error(err, "The policy cannot be read; the last one stays in force", "file", r.file, "inForce", r.hash)
		}
		return
	}
	r.log.Info("The policy is in force", "hash", hash, "mode", p.Mode, "advisories", len(p.Advisories), "before", r.hash)
	r.metrics.policyInForce(hash, p)
	r.policy, r.hash, r.problem = p, hash, ""
}

// remembered is the time of a version that was asked for before.
func (r *rules) remembered(m module.Version) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.ages[m]
	return at, ok
}

func (r *rules) remember(m module.Version, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ages) >= maxAges {
		clear(r.ages)
	}
	r.ages[m] = at
}

// refusal is a 403: no entry of GOPROXY and no other instance is to be asked.
type refusal struct {
	module module.Version
	policy.Decision
}

func (e *refusal) Error() string {
	return fmt.Sprintf("%s is refused by the policy of this proxy (%s): %s", e.module, e.Rule, e.Reason)
}

// guarded serves what the policy allows.
func (s *Server) guarded(w http.ResponseWriter, r *http.Request, t target, p *policy.Policy, storeOnly bool) {
	ctx := r.Context()
	g := guard{s, p, r, storeOnly}
	if p.Mode == policy.DryRun {
		if d, err := g.decide(ctx, t.module); !t.mutable && err == nil && d.Refused() {
			g.report(ctx, t.module, d, "dry_run")
		}
		s.serve(w, r, t, storeOnly)
		return
	}
	if !t.mutable {
		d, err := g.decide(ctx, t.module)
		switch {
		case err != nil:
			g.fail(w, t, err)
		case d.Refused():
			g.report(ctx, t.module, d, "refused")
			g.fail(w, t, &refusal{t.module, d})
		default:
			s.serve(w, r, t, storeOnly)
		}
		return
	}
	if !storeOnly && s.leftToClients(w, r, t) {
		return
	}
	text, err := g.allowed(ctx, t)
	if err != nil {
		g.fail(w, t, err)
		return
	}
	w.Header().Set("ETag", etag(sumOf(text)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
}

// guard is a policy and the request that it decides on.
type guard struct {
	*Server
	policy    *policy.Policy
	request   *http.Request
	storeOnly bool
}

// fail answers with an error. One from the store alone is that the store does
// not have the file.
func (g guard) fail(w http.ResponseWriter, t target, err error) {
	if g.storeOnly {
		notFound(w, t.maxAge(), "not found: temporarily unavailable")
		return
	}
	g.Server.fail(w, g.request, err)
}

// decide on a version. An error is that its age cannot be found out.
func (g guard) decide(ctx context.Context, m module.Version) (policy.Decision, error) {
	if d := g.policy.Decide(m); d.Refused() {
		return d, nil
	}
	minimum := g.policy.AgeOf(m)
	if minimum == 0 {
		return policy.Decision{}, nil
	}
	at, err := g.published(ctx, m, minimum)
	if err != nil {
		return policy.Decision{}, err
	}
	return g.policy.Young(m, at, g.now()), nil
}

// published is when a version was: the time of its .info, which is its commit's.
// For one without a time it is when this store got it, which is later.
func (g guard) published(ctx context.Context, m module.Version, minimum time.Duration) (time.Time, error) {
	if module.IsPseudoVersion(m.Version) {
		return module.PseudoVersionTime(m.Version)
	}
	if at, ok := g.rules.remembered(m); ok {
		return at, nil
	}
	info, err := versionFile(m, ".info")
	if err != nil {
		return time.Time{}, err
	}
	text := g.fetcher.known(info)
	if text == nil {
		for _, ext := range []string{".mod", ".zip"} {
			file, _ := versionFile(m, ext) // as above
			if at, ok := g.store.storedAt(file.name); ok && g.now().Sub(at) >= minimum {
				return at, nil // it is at least as old, whatever its .info has
			}
		}
		if text, err = g.fetchText(ctx, info); err != nil {
			return time.Time{}, err
		}
	}
	meta, err := modcache.ParseInfo(text)
	if err != nil {
		return time.Time{}, &badAnswer{fmt.Errorf("%s: %w", info.name, err)}
	}
	if meta.Time.IsZero() {
		at, _ := g.store.storedAt(info.name)
		return at, nil
	}
	g.rules.remember(m, meta.Time)
	return meta.Time, nil
}

// versionFile is a file of a version.
func versionFile(m module.Version, ext string) (target, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return target{}, err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return target{}, err
	}
	return parseTarget("/" + path + "/@v/" + version + ext)
}

// fetchText is the content of a text that is not in the store.
func (g guard) fetchText(ctx context.Context, t target) ([]byte, error) {
	if g.storeOnly {
		return nil, off{}
	}
	fl := g.fetcher.join(ctx, t, clientOf(g.request))
	defer fl.release()
	select {
	case <-fl.done:
		return fl.text, fl.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// text is the content of a file that may change, as [Server.current] serves it.
func (g guard) text(ctx context.Context, t target) ([]byte, error) {
	if g.storeOnly {
		if text := g.fetcher.known(t); text != nil {
			return text, nil
		}
		return nil, off{}
	}
	fl := g.fetcher.join(ctx, t, clientOf(g.request))
	defer fl.release()
	err := g.fetcher.waitFor(ctx, fl)
	if err == nil {
		if err = fl.err; err == nil {
			return fl.text, nil
		}
	}
	if refused, ok := errors.AsType[*statusError](err); ok && refused.final() {
		return nil, err
	}
	outcomeOf(ctx).fetched(err) // marks the answer as a stale one
	g.fetcher.newest(ctx, t)
	if text := g.fetcher.known(t); text != nil {
		return text, nil
	}
	return nil, err
}

// allowed is what the policy leaves of a file that may change. The answer of the
// upstream comes first: a module that does not exist is not refused, since the go
// command looks for a package in the modules of all prefixes of its path.
func (g guard) allowed(ctx context.Context, t target) ([]byte, error) {
	text, err := g.text(ctx, t)
	if err != nil {
		return nil, err
	}
	if t.kind == modcache.List {
		versions, err := modcache.ParseList(ended(text))
		if err != nil {
			return nil, &badAnswer{fmt.Errorf("%s: %w", t.name, err)}
		}
		kept, left := g.filter(ctx, t.module.Path, versions)
		if len(left) == 0 {
			return text, nil
		}
		g.reportLeft(ctx, t.module.Path, left)
		return modcache.FormatList(kept), nil
	}
	m := module.Version{Path: t.module.Path, Version: version(text)}
	d, err := g.decide(ctx, m)
	if err != nil || !d.Refused() {
		return text, err
	}
	if t.module.Version == "latest" {
		if text := g.newestAllowed(ctx, m); text != nil {
			g.reportLeft(ctx, m.Path, map[string]string{m.Version: d.Rule})
			return text, nil
		}
	}
	g.report(ctx, m, d, "refused")
	return nil, &refusal{m, d}
}

// newestAllowed is the .info of the version that is the latest of those that the
// policy leaves; nil: there is none.
func (g guard) newestAllowed(ctx context.Context, latest module.Version) []byte {
	escaped, err := module.EscapePath(latest.Path)
	if err != nil {
		return nil
	}
	list, err := parseTarget("/" + escaped + "/@v/list")
	if err != nil {
		return nil
	}
	text, err := g.text(ctx, list)
	if err != nil {
		return nil
	}
	versions, err := modcache.ParseList(ended(text))
	if err != nil {
		return nil
	}
	kept, _ := g.filter(ctx, latest.Path, versions)
	info, err := versionFile(module.Version{Path: latest.Path, Version: newestOf(kept)}, ".info")
	if err != nil {
		return nil
	}
	if text := g.fetcher.known(info); text != nil {
		return text
	}
	text, err = g.fetchText(ctx, info)
	if err != nil {
		return nil
	}
	return text
}

// newestOf is the latest version as the go command has it: a release before any
// pre-release; empty: there is none.
func newestOf(versions []string) string {
	newest := ""
	for _, v := range versions {
		if newest == "" || isOlder(newest, v) {
			newest = v
		}
	}
	return newest
}

// filter keeps the versions of a list that the policy allows, in their order, and
// returns the others with the rule for each. If the latest one, which has the
// retractions, is not allowed, those that it retracts are left out as well: the go
// command would not choose them if it saw it.
func (g guard) filter(ctx context.Context, path string, versions []string) (kept []string, left map[string]string) {
	left = map[string]string{}
	lines := map[string][]string{} // minor release → its versions that only the age decides on
	for _, v := range versions {
		m := module.Version{Path: path, Version: v}
		switch d := g.policy.Decide(m); {
		case d.Refused():
			left[v] = d.Rule
		case g.policy.AgeOf(m) > 0:
			lines[semver.MajorMinor(v)] = append(lines[semver.MajorMinor(v)], v)
		}
	}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(agesAtOnce)
	for _, line := range lines {
		group.Go(func() error {
			young := g.youngOf(ctx, path, line)
			mu.Lock()
			defer mu.Unlock()
			for _, v := range young {
				left[v] = policy.MinimumAgeRule
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	if newest := newestOf(versions); left[newest] != "" {
		for _, v := range g.retracted(ctx, module.Version{Path: path, Version: newest}, versions) {
			if left[v] == "" {
				left[v] = left[newest]
			}
		}
	}
	for _, v := range versions {
		if left[v] == "" {
			kept = append(kept, v)
		}
	}
	return kept, left
}

// youngOf are the versions of one minor release that are too young, or whose age
// cannot be found out. They are published in their order, so that all before one
// that is old enough are: what is not asked for here is when a file of it is.
func (g guard) youngOf(ctx context.Context, path string, line []string) (young []string) {
	line = slices.Clone(line)
	slices.SortFunc(line, func(a, b string) int { return semver.Compare(b, a) })
	for _, v := range line {
		if d, err := g.decide(ctx, module.Version{Path: path, Version: v}); err == nil && !d.Refused() {
			break
		}
		young = append(young, v)
	}
	return young
}

// retracted are the versions that the go.mod file of a version retracts.
func (g guard) retracted(ctx context.Context, by module.Version, versions []string) (all []string) {
	t, err := versionFile(by, ".mod")
	if err != nil {
		return nil
	}
	text := g.fetcher.known(t)
	if text == nil {
		if text, err = g.fetchText(ctx, t); err != nil {
			return nil // then the go command does not see it either
		}
	}
	file, err := modcache.ParseGoMod("go.mod", text)
	if err != nil {
		return nil
	}
	for _, v := range versions {
		if slices.ContainsFunc(file.Retract, func(r *modfile.Retract) bool {
			return semver.Compare(r.Low, v) <= 0 && semver.Compare(v, r.High) <= 0
		}) {
			all = append(all, v)
		}
	}
	return all
}

// report logs and counts a decision on one version.
func (g guard) report(ctx context.Context, m module.Version, d policy.Decision, result string) {
	g.metrics.policy(d.Rule, result)
	g.log.Info("The policy refuses a version", "module", m.Path, "version", m.Version, "rule", d.Rule, "reason", d.Reason,
		"result", result, "requestID", outcomeOf(ctx).id(), "client", clientOf(g.request))
}

// reportLeft logs and counts the versions that an answer does not name.
func (g guard) reportLeft(ctx context.Context, path string, left map[string]string) {
	counted := map[string]bool{}
	var versions []string
	for v, rule := range left {
		versions = append(versions, v)
		if !counted[rule] {
			counted[rule] = true
			g.metrics.policy(rule, "left_out")
		}
	}
	semver.Sort(versions)
	slices.Reverse(versions)
	shown := strings.Join(versions[:min(len(versions), listedInLog)], " ")
	g.log.Info("The policy leaves versions out of an answer", "module", path, "versions", shown, "count", len(versions),
		"requestID", outcomeOf(ctx).id(), "client", clientOf(g.request))
}

// storedAt is when a file of the store got its content, or later.
func (s *Store) storedAt(name string) (time.Time, bool) {
	info, err := s.root.Load().Stat(local(name))
	if err != nil || !info.Mode().IsRegular() {
		return time.Time{}, false
	}
	return info.ModTime(), true
}
