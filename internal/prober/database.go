package prober

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
)

// The checksum database lies behind all instances, so all are asked for it in
// one round: only then can it be decided whether an instance fails, or the
// database. A round costs the database one page per instance.

// DatabaseTarget is how the instances of a proxy are asked for the checksum
// database.
type DatabaseTarget struct {
	// Probed reports whether they are.
	Probed bool
	// Database to ask for; without a name it is the first that an instance names.
	Database probe.Database
	// Interval between two rounds.
	Interval time.Duration
	// Timeout of a round.
	Timeout time.Duration
	// Thresholds as in Target.
	Thresholds failover.Thresholds
}

// DatabaseObservation is what is known of the database itself.
type DatabaseObservation struct {
	// Name of it; empty: not known yet.
	Name string
	// Absent means that no instance proxies it.
	Absent bool
	// Reached fails while no instance reaches it.
	Reached failover.Streak
}

// databaseState is what is known of a proxy's database.
type databaseState struct {
	target   DatabaseTarget
	cancel   context.CancelFunc // nil: not begun
	observed DatabaseObservation
}

// setDatabase replaces how the instances are asked; the lock is held.
func (p *Prober) setDatabase(proxy types.NamespacedName, s *proxyState, target DatabaseTarget) {
	if s.database.target == target && (s.database.cancel != nil || p.spawn == nil) {
		return
	}
	if s.database.cancel != nil {
		s.database.cancel()
	}
	s.database = databaseState{target: target}
	p.beginDatabase(proxy, s)
}

// beginDatabase starts the rounds; the lock is held.
func (p *Prober) beginDatabase(proxy types.NamespacedName, s *proxyState) {
	if p.spawn == nil || s.database.cancel != nil || !s.database.target.Probed {
		return
	}
	s.database.cancel = p.spawn(func(ctx context.Context) {
		round := func(ctx context.Context) {
			_ = p.connection(proxy).read("", "checksum database", func() { p.databaseRound(ctx, proxy) }) // it is in the log
		}
		wait.JitterUntilWithContext(ctx, round, s.database.target.Interval, 0.1, true)
	})
}

// databaseRound asks all instances at the same time, and wakes the proxy if that
// may change a decision.
func (p *Prober) databaseRound(ctx context.Context, proxy types.NamespacedName) {
	p.mu.Lock()
	s := p.proxies[proxy]
	if s == nil {
		p.mu.Unlock()
		return
	}
	target := s.database.target
	var asked []*instanceState
	for _, i := range s.instances {
		asked = append(asked, i)
	}
	p.mu.Unlock()
	slices.SortFunc(asked, func(a, b *instanceState) int { return cmp.Compare(a.target.Name, b.target.Name) })

	via := p.connection(proxy)
	db := target.of(ctx, via, asked)
	if db.Name == "" {
		return
	}
	outcomes, trouble := failover.Reached(target.ask(ctx, via, db, asked))
	if ctx.Err() != nil {
		return // a round that was stopped has no outcome
	}
	if p.takeDatabase(s, db.Name, asked, outcomes, trouble) {
		p.notify(proxy)
	}
}

// takeDatabase records a round, and reports whether it may change a decision.
func (p *Prober) takeDatabase(s *proxyState, name string, asked []*instanceState, outcomes map[string]failover.Reach, trouble string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = s.database.record(name, outcomes, trouble, p.clock())
	for _, i := range asked {
		o := outcomes[i.target.Name]
		was := i.observed.Streaks[failover.ChecksumDatabase]
		is := was.Add(o.Outcome, o.Message, p.clock())
		i.observed.Streaks[failover.ChecksumDatabase] = is
		changed = changed || matters(was, is, i.target.Thresholds)
	}
	return changed
}

// of is the database that is asked for: the one that the proxy was given, or
// the first that one of our own servers names.
func (t DatabaseTarget) of(ctx context.Context, via connection, asked []*instanceState) probe.Database {
	if t.Database.Name != "" {
		return t.Database
	}
	for _, i := range asked {
		if i.target.Ready != probe.OwnPage {
			continue
		}
		if name := t.named(ctx, via, i); name != "" {
			return probe.Database{Name: name}
		}
	}
	return probe.Database{}
}

// named is the database that an instance names; empty: none, or it does not answer.
func (t DatabaseTarget) named(ctx context.Context, via connection, i *instanceState) (name string) {
	ctx, cancel := via.within(ctx, t.Timeout)
	defer cancel()
	var err error
	defect := via.read(i.target.Name, "name of the checksum database", func() {
		name, err = probe.Target{Pages: i.target.Pages, HTTP: via.http}.DatabaseName(ctx)
	})
	if defect != nil || err != nil {
		return ""
	}
	return name
}

// ask asks all instances, each within the timeout.
func (t DatabaseTarget) ask(ctx context.Context, via connection, db probe.Database, asked []*instanceState) map[string]failover.Reach {
	ctx, cancel := via.within(ctx, t.Timeout)
	defer cancel()
	answers := make([]failover.Reach, len(asked))
	var all sync.WaitGroup
	for n, i := range asked {
		all.Go(func() {
			var result probe.Result
			var absent bool
			defect := via.read(i.target.Name, "checksum database", func() {
				result, absent = probe.Target{Base: i.target.URL, Own: i.target.SupportsStoredOnly, HTTP: via.http}.Database(i.target.restricted(ctx), db)
			})
			if defect != nil {
				result = probe.Result{Outcome: probe.Unknown, Message: defect.Error()}
			}
			answers[n] = failover.Reach{Outcome: outcome(result.Outcome), Absent: absent, Message: result.Message}
		})
	}
	all.Wait()
	byName := map[string]failover.Reach{}
	for n, i := range asked {
		byName[i.target.Name] = answers[n]
	}
	return byName
}

// record takes a round into account, and reports whether it may change a decision;
// the lock is held.
func (s *databaseState) record(name string, outcomes map[string]failover.Reach, trouble string, now time.Time) bool {
	result, message := failover.Passed, ""
	if trouble != "" {
		result, message = failover.Failed, trouble
	}
	was := s.observed
	if was.Reached.Outcome == result {
		message = was.Reached.Message // one outage, one text
	}
	s.observed.Name, s.observed.Absent = name, true
	for _, o := range outcomes {
		s.observed.Absent = s.observed.Absent && o.Absent
	}
	s.observed.Reached = was.Reached.Add(result, message, now)
	return was.Name != name || was.Absent != s.observed.Absent || matters(was.Reached, s.observed.Reached, s.target.Thresholds)
}
