package prober

import (
	"context"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/plan/failover"
)

// Targets are what is to be probed of one proxy.
type Targets struct {
	// Instances of the proxy, by unique names.
	Instances []Target
	// Database is the checksum database behind them.
	Database DatabaseTarget
}

// Target is one instance of a proxy, and how it is to be probed.
type Target struct {
	// Name of the instance.
	Name string
	// URL of the instance.
	URL string
	// Pages is the URL of what our own server reports to the operator alone; empty: there
	// is none.
	Pages string
	// Agent is the URL of the agent beside its store; empty: there is none.
	Agent string
	// Token makes the agent start a check; empty: none is started on request.
	Token string
	// Ready is the page that reports whether the instance can be used.
	Ready probe.Page
	// Layout of its store; empty: the store is not checked.
	Layout store.Layout
	// Interval between two rounds of probes.
	Interval time.Duration
	// Timeout of each probe.
	Timeout time.Duration
	// Thresholds after which an outcome is confirmed: that is when the proxy is
	// woken.
	Thresholds failover.Thresholds
	// Kinds of the probes that are made.
	Kinds []failover.Kind
	// References are the reference modules that a user has named; none: modules
	// that the store has, as its agent names them.
	References []probe.ReferenceModule
	// SupportsStoredOnly means that the instance can be asked to answer from its
	// store alone.
	SupportsStoredOnly bool
	// DiskLimit is when probe Disk fails, in percent of the volume.
	DiskLimit int
}

// Observation is what is known of one instance. It is not modified after it was
// returned.
type Observation struct {
	// Streaks of the outcomes by kind. A kind that is not probed is absent.
	Streaks Streaks
	// DiskUsedPercent is how full the store's volume is, rounded down to a
	// multiple of five, so that a volume that fills slowly does not cost a status
	// write at each probe; nil: not known.
	DiskUsedPercent *int32
	// Full fails while the instance's store has no room for what it fetches.
	Full failover.Streak
	// Moved are the versions that the instance has found moved to another commit.
	Moved []probe.MovedVersion
	// Store is the last report of the agent beside the store; nil: none yet.
	Store *StoreReport
	// Served are the checksums of the reference modules that the instance served
	// in its last round.
	Served map[module.Version]failover.Sums
	// Agrees fails while the instance contradicts another one.
	Agrees failover.Streak
}

// Streaks are the outcomes of an instance's probes by kind.
type Streaks map[failover.Kind]failover.Streak

// Observations are what is known of one proxy.
type Observations struct {
	// Instances by name.
	Instances map[string]Observation
	// Database behind them.
	Database DatabaseObservation
	// Agreed are the checksums that all instances agree on; nil: none were
	// compared yet.
	Agreed map[module.Version]failover.Sums
}

// Prober probes the instances of all proxies. Use [New].
type Prober struct {
	clock  func() time.Time
	http   *http.Client
	budget *budget

	mu      sync.Mutex
	wake    func(types.NamespacedName)                          // nil: the source has not started
	spawn   func(work func(context.Context)) context.CancelFunc // nil before Start
	proxies map[types.NamespacedName]*proxyState
}

// proxyState is a proxy that is probed.
type proxyState struct {
	instances map[string]*instanceState
	database  databaseState
	reference Reference
	// agreed is what the last comparison found that all agree on.
	agreed map[module.Version]failover.Sums
}

// instanceState is an instance that is probed.
type instanceState struct {
	target   Target
	cancel   context.CancelFunc // nil: not begun yet
	observed Observation
	// check of the store that is due.
	check Check
}

// New returns a Prober that reads the time from clock and sends its requests
// with client; nil is [NewClient]. Redirects are not followed, and the bodies of
// all answers together are bounded.
func New(clock func() time.Time, client *http.Client) *Prober {
	if client == nil {
		client = NewClient()
	}
	return &Prober{clock: clock, http: guarded(client), budget: newBudget(), proxies: map[types.NamespacedName]*proxyState{}}
}

// NewClient returns a client that bounds all that a context does not. A probe
// must observe how an instance answers a new connection, so none is kept.
func NewClient() *http.Client { return NewRestrictedClient(nil) }

type restrictedKey struct{}

// restricted marks the requests to an instance that the operator does not run:
// its address is a user's choice, while the addresses of pods are the cluster's.
func (t Target) restricted(ctx context.Context) context.Context {
	if t.Agent != "" {
		return ctx
	}
	return context.WithValue(ctx, restrictedKey{}, true)
}

// NewRestrictedClient returns a client as NewClient does that connects to
// instances which the operator does not run only where a filter allows.
func NewRestrictedClient(f *untrusted.Filter) *http.Client {
	var direct *untrusted.Filter
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				filter := direct
				if ctx.Value(restrictedKey{}) != nil {
					filter = f
				}
				return filter.Dialer(5*time.Second).DialContext(ctx, network, address)
			},
			ResponseHeaderTimeout: 30 * time.Second,
			DisableKeepAlives:     true,
			// A bound on what is sent must be one on what is read.
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// Start probes until the context ends, and no longer: another replica may lead
// by then. The manager calls it when it leads.
func (p *Prober) Start(ctx context.Context) error {
	var rounds sync.WaitGroup
	p.mu.Lock()
	p.spawn = func(work func(context.Context)) context.CancelFunc {
		ctx, cancel := context.WithCancel(ctx)
		rounds.Go(func() { work(ctx) })
		return cancel
	}
	for name, s := range p.proxies {
		for _, i := range s.instances {
			p.begin(name, i)
		}
		p.beginDatabase(name, s)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.spawn = func(func(context.Context)) context.CancelFunc { return func() {} } // nothing begins any more
	p.mu.Unlock()
	rounds.Wait()
	return nil
}

// NeedLeaderElection has the manager start it on the leader only, so that two
// replicas of the operator do not double the load.
func (p *Prober) NeedLeaderElection() bool { return true }

// Source wakes a proxy when what is known of it may change a decision.
func (p *Prober) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wake = func(proxy types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: proxy}) }
		return nil
	})
}

// Set replaces what is probed of a proxy. An instance whose target is unchanged
// keeps its interval and what is known of it; what is known of one whose target
// changed is forgotten.
func (p *Prober) Set(proxy types.NamespacedName, targets Targets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.proxies[proxy]
	if s == nil {
		s = &proxyState{}
		p.proxies[proxy] = s
	}
	now := map[string]*instanceState{}
	for _, t := range targets.Instances {
		if i, ok := s.instances[t.Name]; ok && reflect.DeepEqual(i.target, t) {
			now[t.Name] = i
			continue
		}
		i := &instanceState{target: t, observed: Observation{Streaks: t.unknown()}}
		now[t.Name] = i
		p.begin(proxy, i)
	}
	for n, i := range s.instances {
		if now[n] != i && i.cancel != nil {
			i.cancel()
		}
	}
	s.instances = now
	p.setDatabase(proxy, s, targets.Database)
}

// Forget stops probing a proxy.
func (p *Prober) Forget(proxy types.NamespacedName) {
	p.Set(proxy, Targets{})
	p.mu.Lock()
	delete(p.proxies, proxy)
	p.mu.Unlock()
}

// Observe returns what is known of a proxy.
func (p *Prober) Observe(proxy types.NamespacedName) Observations {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := Observations{Instances: map[string]Observation{}}
	s := p.proxies[proxy]
	if s == nil {
		return all
	}
	for n, i := range s.instances {
		copied := i.observed
		copied.Streaks = maps.Clone(i.observed.Streaks)
		all.Instances[n] = copied
	}
	all.Database, all.Agreed = s.database.observed, s.agreed
	return all
}

// Proxies returns the number of proxies that are probed.
func (p *Prober) Proxies() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.proxies)
}

// Round makes one round of all probes of a proxy, and returns when it has ended.
// It needs no Start: with it, a test decides when probes are made.
func (p *Prober) Round(ctx context.Context, proxy types.NamespacedName) {
	p.mu.Lock()
	var all []*instanceState
	database := false
	if s := p.proxies[proxy]; s != nil {
		for _, n := range slices.Sorted(maps.Keys(s.instances)) {
			all = append(all, s.instances[n])
		}
		database = s.database.target.Probed
	}
	p.mu.Unlock()
	for _, i := range all {
		p.round(ctx, proxy, i)
	}
	if database {
		p.databaseRound(ctx, proxy)
	}
}

// begin starts the rounds of an instance; the lock is held.
func (p *Prober) begin(proxy types.NamespacedName, i *instanceState) {
	if p.spawn == nil || i.cancel != nil {
		return
	}
	i.cancel = p.spawn(func(ctx context.Context) {
		round := func(ctx context.Context) {
			_ = p.connection(proxy).read(i.target.Name, "round", func() { p.round(ctx, proxy, i) }) // it is in the log
		}
		wait.JitterUntilWithContext(ctx, round, i.target.Interval, 0.1, true)
	})
}

// round makes one probe of each kind, and wakes the proxy if that may change a
// decision.
func (p *Prober) round(ctx context.Context, proxy types.NamespacedName, i *instanceState) {
	references := p.references(proxy, i)
	via := p.connection(proxy)
	a := i.target.probe(ctx, via, references)
	report := i.target.report(ctx, via, p.clock)
	i.target.withdraw(a, references, report)
	if ctx.Err() != nil {
		return // a round that was stopped has no outcome
	}
	changed, check := p.take(proxy, i, report, a, references)
	if report != nil && check.missedBy(report) {
		i.target.startCheck(ctx, via, check)
	}
	if changed {
		p.notify(proxy)
	}
}

// take records a round, and returns the check that is due.
func (p *Prober) take(proxy types.NamespacedName, i *instanceState, report *StoreReport, a answers, references []probe.ReferenceModule) (changed bool, due Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.record(i, report, a)
	i.forgetUnasked(references)
	if s := p.proxies[proxy]; s != nil && i.target.has(failover.Consistency) {
		changed = s.compare(i, p.clock()) || changed
	}
	return changed, i.check
}

// record takes the answers of a round into account, and reports whether they may
// change a decision; the lock is held.
func (p *Prober) record(i *instanceState, report *StoreReport, a answers) (changed bool) {
	changed = !reflect.DeepEqual(i.observed.DiskUsedPercent, a.diskUsed)
	i.observed.DiskUsedPercent = a.diskUsed
	if report != nil { // an agent that does not answer takes nothing back
		changed = changed || !report.equals(i.observed.Store)
		i.observed.Store = report
	}
	i.observed.Served = a.served
	if a.moved != nil && !slices.Equal(a.moved, i.observed.Moved) { // no answer takes nothing back
		i.observed.Moved, changed = a.moved, true
	}
	was := i.observed.Full
	i.observed.Full = was.Add(outcome(a.full.Outcome), untrusted.Bound(a.full.Message), p.clock())
	changed = changed || matters(was, i.observed.Full, i.target.Thresholds)
	for kind, result := range a.results {
		was := i.observed.Streaks[kind]
		is := was.Add(outcome(result.Outcome), untrusted.Bound(result.Message), p.clock())
		i.observed.Streaks[kind] = is
		changed = changed || matters(was, is, i.target.Thresholds)
	}
	return changed
}

// notify wakes a proxy.
func (p *Prober) notify(proxy types.NamespacedName) {
	p.mu.Lock()
	wake := p.wake
	p.mu.Unlock()
	if wake != nil {
		wake(proxy)
	}
}

// matters reports whether a decision may come out different after an outcome: the
// streak turned, or has just become long enough to count.
func matters(was, is failover.Streak, t failover.Thresholds) bool {
	return is.Count != was.Count && (is.Count == 1 || is.Count == t.Failure || is.Count == t.Success)
}

// answers are what an instance answered in a round.
type answers struct {
	results map[failover.Kind]probe.Result
	// served are the checksums of the reference modules that it served.
	served map[module.Version]failover.Sums
	// diskUsed is as in Observation.
	diskUsed *int32
	full     probe.Result
	// moved are the versions that it has found moved; nil: none, or no answer.
	moved []probe.MovedVersion
}

// probe makes the probes of all kinds, each within the timeout. One that panics has
// failed, except for that of checksums, which has no outcome: a defect of the operator
// must not quarantine an instance.
func (t Target) probe(ctx context.Context, via connection, references []probe.ReferenceModule) answers {
	a := answers{results: map[failover.Kind]probe.Result{}, served: map[module.Version]failover.Sums{}}
	ctx = t.restricted(ctx)
	to := probe.Target{Base: t.URL, Pages: t.Pages, Agent: t.Agent, Own: t.SupportsStoredOnly, HTTP: via.http}
	if t.has(failover.Ready) {
		defect := t.read(ctx, via, "ready", func(ctx context.Context) { a.results[failover.Ready] = to.Ready(ctx, t.Ready) })
		if defect != nil {
			a.results[failover.Ready] = probe.Result{Outcome: probe.Failed, Message: defect.Error()}
		}
	}
	if len(references) > 0 {
		defect := t.read(ctx, via, "reference modules", func(ctx context.Context) { t.sort(a, to.ReferenceModules(ctx, references)) })
		if defect != nil {
			t.unsorted(a, defect.Error())
		}
	}
	if t.has(failover.Disk) {
		var used int
		var result probe.Result
		if defect := t.read(ctx, via, "disk", func(ctx context.Context) { used, result = to.Disk(ctx, t.DiskLimit) }); defect != nil {
			result = probe.Result{Outcome: probe.Unknown, Message: defect.Error()}
		}
		a.results[failover.Disk] = result
		if result.Outcome != probe.Unknown {
			step := int32(used / 5 * 5) //nolint:gosec // 0 to 100
			a.diskUsed = &step
		}
	}
	if t.SupportsStoredOnly { // our own server
		if defect := t.read(ctx, via, "full store", func(ctx context.Context) { a.full = to.StoreFull(ctx) }); defect != nil {
			a.full = probe.Result{Outcome: probe.Unknown, Message: defect.Error()}
		}
		// An error is that of the probe above, or of the next round.
		_ = t.read(ctx, via, "moved versions", func(ctx context.Context) { a.moved, _ = to.Moved(ctx) })
	}
	return a
}

// read makes one probe within the timeout. What an instance sends must not end the
// process; the error is that it would have.
func (t Target) read(ctx context.Context, via connection, what string, probe func(context.Context)) error {
	ctx, cancel := via.within(ctx, t.Timeout)
	defer cancel()
	return via.read(t.Name, what, func() { probe(ctx) })
}

// unknown is what is known of an instance before its first round: which kinds
// are probed. A kind that is absent would count as proven.
func (t Target) unknown() Streaks {
	none := Streaks{}
	for _, kind := range t.Kinds {
		if slices.Contains(referenceKinds, kind) && t.Layout == "" && !serves(t.References, kind) {
			continue // and no agent will name any
		}
		none[kind] = failover.Streak{}
	}
	return none
}

func (t Target) has(kind failover.Kind) bool { return slices.Contains(t.Kinds, kind) }

func outcome(o probe.Outcome) failover.Outcome {
	switch o {
	case probe.Passed:
		return failover.Passed
	case probe.Failed:
		return failover.Failed
	case probe.Unknown:
	}
	return failover.Unknown
}
