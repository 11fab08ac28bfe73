package modproxy

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/plan/failover"
)

// target is what the prober knows of one instance.
type target struct {
	name string
	url  string
	// agent beside its store; empty: there is none.
	agent string
	// ready is the page that tells whether it can be used.
	ready probe.Page
	// layout of its store; empty: it is not checked.
	layout     store.Layout
	interval   time.Duration
	timeout    time.Duration
	thresholds failover.Thresholds
	kinds      []v1alpha1.ProbeKind
	// canaries that a person has named; none: what the store has.
	canaries []probe.Canary
	// obedient: it can be asked to answer from its store alone.
	obedient  bool
	diskLimit int // percent
}

// found is what the probes of an instance found out so far.
type found struct {
	streaks streaks
	// disk is how full the store's volume is, in percent; nil: not known.
	disk *int
	// store is what the agent beside the store said last; nil: nothing yet.
	store *storeReport
	// served are the sums of the canaries that it served in the last round.
	served map[module.Version]failover.Sums
	// agrees fails while it contradicts another instance.
	agrees failover.Streak
}

// streaks are the outcomes of an instance's probes by kind.
type streaks map[failover.Kind]failover.Streak

// prober probes the instances of all proxies, each in its own rhythm. It runs
// on the leader only, so that two replicas of the operator do not double the
// load.
type prober struct {
	clock func() time.Time
	http  *http.Client
	news  chan crevent.GenericEvent

	mu     sync.Mutex
	spawn  func(work func(context.Context)) context.CancelFunc // nil before Start
	fleets map[types.NamespacedName]*fleet
}

// fleet are the instances of a proxy that are probed.
type fleet struct {
	instances map[string]*probed
	database  databaseRounds
	// reference is what a comparison of the instances goes by, and agreed what
	// the last one found that all agree on.
	reference reference
	agreed    map[module.Version]failover.Sums
}

// probed is an instance that is being probed.
type probed struct {
	target target
	cancel context.CancelFunc // nil: not begun yet
	found  found
	// check of the store that is wanted.
	check checkWish
}

func newProber(clock func() time.Time, client *http.Client) *prober {
	return &prober{
		clock: clock, http: client,
		// Room for a burst; a pass takes many news at once.
		news:   make(chan crevent.GenericEvent, 64),
		fleets: map[types.NamespacedName]*fleet{},
	}
}

// newHTTPClient bounds all that a context does not: a probe must find out how
// an instance answers a new connection, so none is kept.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ResponseHeaderTimeout: 30 * time.Second,
			DisableKeepAlives:     true,
		},
	}
}

// Start probes until the context ends, and no longer: another replica may lead
// by then. It is called by the manager when it leads.
func (p *prober) Start(ctx context.Context) error {
	var rhythms sync.WaitGroup
	p.mu.Lock()
	p.spawn = func(work func(context.Context)) context.CancelFunc {
		ctx, cancel := context.WithCancel(ctx)
		rhythms.Go(func() { work(ctx) })
		return cancel
	}
	for name, f := range p.fleets {
		for _, i := range f.instances {
			p.begin(name, i)
		}
		p.beginDatabase(name, f)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.spawn = func(func(context.Context)) context.CancelFunc { return func() {} } // nothing begins any more
	p.mu.Unlock()
	rhythms.Wait()
	return nil
}

// NeedLeaderElection makes it run on the leader only.
func (p *prober) NeedLeaderElection() bool { return true }

// want makes targets the instances of a proxy that are probed. An instance
// whose target is unchanged goes on in its rhythm; what was found out of one
// that moved or is asked otherwise is forgotten.
func (p *prober) want(name types.NamespacedName, targets []target, database databaseTarget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fleets[name]
	if f == nil {
		f = &fleet{}
		p.fleets[name] = f
	}
	now := map[string]*probed{}
	for _, t := range targets {
		if i, ok := f.instances[t.name]; ok && reflect.DeepEqual(i.target, t) {
			now[t.name] = i
			continue
		}
		i := &probed{target: t, found: found{streaks: t.unknown()}}
		now[t.name] = i
		p.begin(name, i)
	}
	for n, i := range f.instances {
		if now[n] != i && i.cancel != nil {
			i.cancel()
		}
	}
	f.instances = now
	p.wantDatabase(name, f, database)
}

// forget stops probing a proxy.
func (p *prober) forget(name types.NamespacedName) {
	p.want(name, nil, databaseTarget{})
	p.mu.Lock()
	delete(p.fleets, name)
	p.mu.Unlock()
}

// outcomes returns what was found out of a proxy's instances.
func (p *prober) outcomes(name types.NamespacedName) map[string]found {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]found{}
	for n, i := range p.instances(name) {
		copied := i.found
		copied.streaks = maps.Clone(i.found.streaks)
		all[n] = copied
	}
	return all
}

// instances of a proxy that are probed; the lock is held.
func (p *prober) instances(name types.NamespacedName) map[string]*probed {
	if f := p.fleets[name]; f != nil {
		return f.instances
	}
	return nil
}

// begin starts the rhythm of an instance; the lock is held.
func (p *prober) begin(name types.NamespacedName, i *probed) {
	if p.spawn == nil || i.cancel != nil {
		return
	}
	i.cancel = p.spawn(func(ctx context.Context) {
		wait.JitterUntilWithContext(ctx, func(ctx context.Context) { p.round(ctx, name, i) }, i.target.interval, 0.1, true)
	})
}

// round makes one probe of each kind and tells the controller if that may
// change a decision.
func (p *prober) round(ctx context.Context, name types.NamespacedName, i *probed) {
	canaries := p.canaries(name, i)
	answers, disk := i.target.ask(ctx, p.http, canaries)
	report := i.target.askStore(ctx, p.http, p.clock)
	if ctx.Err() != nil {
		return // being stopped is no outcome
	}
	p.mu.Lock()
	wish := i.check
	news := p.note(i, report, answers, disk)
	i.forgetUnasked(canaries)
	if f := p.fleets[name]; f != nil && i.target.has(v1alpha1.ProbeConsistency) {
		news = f.compare(i, p.clock()) || news
	}
	p.mu.Unlock()
	if report != nil && wish.missedBy(report) {
		i.target.checkStore(ctx, p.http, wish)
	}
	if news {
		p.tell(ctx, name)
	}
}

// note takes a round into account, and says whether that matters; the lock is
// held.
func (p *prober) note(i *probed, report *storeReport, a answers, disk *int) (news bool) {
	news = !reflect.DeepEqual(coarse(i.found.disk), coarse(disk))
	i.found.disk = disk
	if report != nil { // an agent that does not answer takes nothing back
		news = news || !report.says(i.found.store)
		i.found.store = report
	}
	i.found.served = a.served
	for kind, result := range a.results {
		was := i.found.streaks[kind]
		is := was.Add(outcome(result.Outcome), result.Message, p.clock())
		i.found.streaks[kind] = is
		news = news || matters(was, is, i.target.thresholds)
	}
	return news
}

// tell wakes the controller.
func (p *prober) tell(ctx context.Context, name types.NamespacedName) {
	select {
	case p.news <- crevent.GenericEvent{Object: &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}}:
	case <-ctx.Done():
	}
}

// matters says whether a decision may come out different after an outcome:
// the streak turned, or has just become long enough to be believed.
func matters(was, is failover.Streak, t failover.Thresholds) bool {
	return is.Count != was.Count && (is.Count == 1 || is.Count == t.Failure || is.Count == t.Success)
}

// coarse is a percentage in steps of five: what a status tells, so that a disk
// that fills slowly does not cost a write at each probe.
func coarse(percent *int) *int32 {
	if percent == nil {
		return nil
	}
	step := int32(*percent / 5 * 5) //nolint:gosec // 0 to 100
	return &step
}

// answers are what an instance answered in a round.
type answers struct {
	results map[failover.Kind]probe.Result
	// served are the sums of the canaries that it served.
	served map[module.Version]failover.Sums
}

// ask makes the probes of all kinds, each within the timeout, and says how
// full the volume is where that is known.
func (t target) ask(ctx context.Context, client *http.Client, canaries []probe.Canary) (a answers, disk *int) {
	a = answers{results: map[failover.Kind]probe.Result{}, served: map[module.Version]failover.Sums{}}
	to := probe.Target{Base: t.url, Agent: t.agent, HTTP: client}
	if t.has(v1alpha1.ProbeReady) {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		a.results[failover.Ready] = to.Ready(ctx, t.ready)
		cancel()
	}
	if len(canaries) > 0 {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		t.noteCanaries(a, to.Canaries(ctx, canaries))
		cancel()
	}
	if t.has(v1alpha1.ProbeDisk) {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		used, result := to.Disk(ctx, t.diskLimit)
		cancel()
		a.results[failover.Disk] = result
		if result.Outcome != probe.Unknown {
			disk = &used
		}
	}
	return a, disk
}

// unknown is what is known of an instance that was not asked yet: which kinds
// it is asked, and nothing else. A kind that is absent would count as proven.
func (t target) unknown() streaks {
	none := streaks{}
	for _, kind := range t.kinds {
		if slices.Contains(canaryKinds, kind) && t.layout == "" && !serves(t.canaries, kind) {
			continue // and no agent will name any
		}
		none[failover.Kind(kind)] = failover.Streak{}
	}
	return none
}

func (t target) has(kind v1alpha1.ProbeKind) bool {
	return slices.Contains(t.kinds, kind)
}

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
