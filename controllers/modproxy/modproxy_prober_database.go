package modproxy

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
)

// The checksum database lies behind all instances, so all are asked for it in
// one round: only then can it be told whether an instance fails, or the
// database. A round costs the database one page per instance.

// databaseTarget is how the instances of a proxy are asked for the checksum
// database.
type databaseTarget struct {
	// asked: they are.
	asked bool
	// database, without a name while only an instance can tell it.
	database   probe.Database
	interval   time.Duration
	timeout    time.Duration
	thresholds failover.Thresholds
}

// databaseRounds are what was found out in them.
type databaseRounds struct {
	target databaseTarget
	cancel context.CancelFunc // nil: not begun
	found  foundDatabase
}

// foundDatabase is what was found out of the database itself.
type foundDatabase struct {
	// name of it; empty: nobody has told it yet.
	name string
	// absent: no instance proxies it.
	absent bool
	// reached fails while no instance reaches it.
	reached failover.Streak
}

// wantDatabase makes target how the instances are asked; the lock is held.
func (p *prober) wantDatabase(name types.NamespacedName, f *fleet, target databaseTarget) {
	if f.database.target == target && (f.database.cancel != nil || p.spawn == nil) {
		return
	}
	if f.database.cancel != nil {
		f.database.cancel()
	}
	f.database = databaseRounds{target: target}
	p.beginDatabase(name, f)
}

// beginDatabase starts the rhythm; the lock is held.
func (p *prober) beginDatabase(name types.NamespacedName, f *fleet) {
	if p.spawn == nil || f.database.cancel != nil || !f.database.target.asked {
		return
	}
	f.database.cancel = p.spawn(func(ctx context.Context) {
		wait.JitterUntilWithContext(ctx, func(ctx context.Context) { p.databaseRound(ctx, name) }, f.database.target.interval, 0.1, true)
	})
}

// database returns what was found out of a proxy's checksum database.
func (p *prober) database(name types.NamespacedName) foundDatabase {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fleets[name]; f != nil {
		return f.database.found
	}
	return foundDatabase{}
}

// databaseRound asks all instances at the same time, and tells the controller
// if that may change anything.
func (p *prober) databaseRound(ctx context.Context, name types.NamespacedName) {
	p.mu.Lock()
	f := p.fleets[name]
	if f == nil {
		p.mu.Unlock()
		return
	}
	target := f.database.target
	var asked []*probed
	for _, i := range f.instances {
		asked = append(asked, i)
	}
	p.mu.Unlock()
	slices.SortFunc(asked, func(a, b *probed) int { return cmp.Compare(a.target.name, b.target.name) })

	db := target.of(ctx, p.http, asked)
	if db.Name == "" {
		return
	}
	outcomes, trouble := failover.Reached(target.ask(ctx, p.http, db, asked))
	if ctx.Err() != nil {
		return // being stopped is no outcome
	}
	p.mu.Lock()
	news := f.database.note(db.Name, outcomes, trouble, p.clock())
	for _, i := range asked {
		o := outcomes[i.target.name]
		was := i.found.streaks[failover.ChecksumDatabase]
		is := was.Add(o.Outcome, o.Message, p.clock())
		i.found.streaks[failover.ChecksumDatabase] = is
		news = news || matters(was, is, i.target.thresholds)
	}
	p.mu.Unlock()
	if news {
		p.tell(ctx, name)
	}
}

// of is the database that is asked for: the one that the proxy was given, or
// the first that one of our own servers tells.
func (t databaseTarget) of(ctx context.Context, client *http.Client, asked []*probed) probe.Database {
	if t.database.Name != "" {
		return t.database
	}
	for _, i := range asked {
		if i.target.ready != probe.OwnPage {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		name, err := probe.Target{Base: i.target.url, HTTP: client}.DatabaseName(ctx)
		cancel()
		if err == nil {
			return probe.Database{Name: name}
		}
	}
	return probe.Database{}
}

// ask asks all instances, each within the timeout.
func (t databaseTarget) ask(ctx context.Context, client *http.Client, db probe.Database, asked []*probed) map[string]failover.Reach {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	answers := make([]failover.Reach, len(asked))
	var all sync.WaitGroup
	for n, i := range asked {
		all.Go(func() {
			result, absent := probe.Target{Base: i.target.url, HTTP: client}.Database(ctx, db)
			answers[n] = failover.Reach{Outcome: outcome(result.Outcome), Absent: absent, Message: result.Message}
		})
	}
	all.Wait()
	byName := map[string]failover.Reach{}
	for n, i := range asked {
		byName[i.target.name] = answers[n]
	}
	return byName
}

// note takes a round into account, and says whether that matters; the lock is
// held.
func (r *databaseRounds) note(name string, outcomes map[string]failover.Reach, trouble string, now time.Time) bool {
	result, message := failover.Passed, ""
	if trouble != "" {
		result, message = failover.Failed, trouble
	}
	was := r.found
	if was.reached.Outcome == result {
		message = was.reached.Message // one outage, one text
	}
	r.found.name, r.found.absent = name, true
	for _, o := range outcomes {
		r.found.absent = r.found.absent && o.Absent
	}
	r.found.reached = was.reached.Add(result, message, now)
	return was.name != name || was.absent != r.found.absent || matters(was.reached, r.found.reached, r.target.thresholds)
}
