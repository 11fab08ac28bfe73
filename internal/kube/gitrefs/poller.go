package gitrefs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/redact"
	"gocache.dev/operator/internal/domain/untrusted"
)

const (
	// Interval between look-ups of a ref whose repository answers.
	Interval = time.Minute
	// PushInterval between look-ups of a ref at least, however many pushes are
	// reported.
	PushInterval = 5 * time.Second
	// RetryInterval after the first look-up that failed, unless it had no answer in time;
	// four times as long after each further one.
	RetryInterval = 15 * time.Second
	// MaxInterval between look-ups of a ref whose repository does not answer.
	MaxInterval = 15 * time.Minute
	// Timeout of a look-up.
	Timeout = 10 * time.Second

	// forgetAfter is when a ref that no pass asks for is forgotten.
	forgetAfter = time.Hour

	// maxHeld is how many bytes of credentials and certificates the look-ups of one
	// namespace hold that run or wait for their turn. Each may be as large as a Secret
	// and a ConfigMap.
	maxHeld = 8 << 20
	// lookupBytes of memory are counted for a look-up beside them.
	lookupBytes = 1 << 10
	// maxKnown refs of a namespace are remembered: each change of a URL makes another.
	maxKnown = 1024
)

var (
	// ErrPending is the error of a ref whose first look-up has not ended.
	ErrPending = errors.New("the repository is being read")
	// ErrNoAnswer is the error of a look-up that did not end in time.
	ErrNoAnswer = fmt.Errorf("it has not answered within %s", Timeout)
)

// Ref is a ref of a repository, as one namespace reads it.
type Ref struct {
	// Namespace whose share of the look-ups is used.
	Namespace string
	// Remote to look up, with its credentials.
	Remote gitrepo.Remote
	// CredentialsVersion distinguishes versions of the credentials, such
	// as the name, uid and resourceVersion of a Secret. It is no secret itself.
	CredentialsVersion string
}

// key of a ref. It holds no credentials.
type key struct{ namespace, url, ref, credentials string }

func (r Ref) key() key {
	return key{r.Namespace, r.Remote.URL, r.Remote.Ref, r.CredentialsVersion}
}

// Poller looks up refs in the background. Use [New].
type Poller struct {
	options Options
	turns   turns

	mu      sync.Mutex
	refs    map[key]*refState
	objects map[types.NamespacedName]*objectState
	forgot  time.Time        // last
	held    map[string]int64 // bytes, by namespace
	// wake wakes an object after a time; nil: the source has not started.
	wake func(types.NamespacedName, time.Duration)
}

// Options of a Poller. The zero value is for production.
type Options struct {
	// Resolve returns the commit of a ref; nil is [gitrepo.Remote.Resolve].
	Resolve func(context.Context, gitrepo.Remote) (string, error)
	// Filter of the addresses of git servers; nil refuses none.
	Filter *untrusted.Filter
	// Proxies that git servers are reached through.
	Proxies egress.Proxies
	// Go runs a look-up; nil is a goroutine. A test that runs it at once, in the
	// same goroutine, gets the answer from the first call of Lookup.
	Go func(lookup func())
	// Timeout of a look-up; 0 is [Timeout].
	Timeout time.Duration
}

// refState is what is known of a ref.
type refState struct {
	commit   string
	err      error // ErrPending before the first answer
	failures int   // in a row
	running  bool
	began    time.Time // the last look-up
	next     time.Time // of the next look-up
	// pushed is when a look-up is due because of a push that was reported while
	// one was running, which may have read what was there before; zero: none was.
	pushed time.Time
	asked  time.Time // last
	// askedBy is when each object asked last.
	askedBy map[types.NamespacedName]time.Time
	// waiting are the objects that asked since the last answer.
	waiting map[types.NamespacedName]bool
}

// objectState is what is known of an object that asks for refs.
type objectState struct {
	asked time.Time // last: its last pass
	// woken is the time of its last wake-up for a push, which may be to come.
	woken time.Time
}

// New returns a Poller.
func New(o Options) *Poller {
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, r gitrepo.Remote) (string, error) {
			r.Filter, r.Proxies = o.Filter, o.Proxies
			return r.Resolve(ctx)
		}
	}
	if o.Go == nil {
		o.Go = func(lookup func()) { go lookup() }
	}
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	return &Poller{options: o, refs: map[key]*refState{}, objects: map[types.NamespacedName]*objectState{}, held: map[string]int64{}}
}

// Source wakes the objects for which an answer has changed what is known.
func (p *Poller) Source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wake = func(o types.NamespacedName, after time.Duration) {
			queue.AddAfter(reconcile.Request{NamespacedName: o}, after)
		}
		return nil
	})
}

// Lookup returns the commit that a ref named at the last look-up, or that
// look-up's error: [ErrPending] before the first answer, [ErrNoAnswer] after a
// timeout, else one of package gitrepo. It starts another look-up if one is due
// at the time now and its namespace has room for it, and never waits for one. The
// object is woken when what is known changes, or to ask again for room. All
// look-ups of one pass of an object have the same now: a ref that its last pass did
// not ask for is none of its refs any more.
func (p *Poller) Lookup(now time.Time, object types.NamespacedName, ref Ref) (commit string, err error) {
	p.mu.Lock()
	p.forget(now)
	s := p.refs[ref.key()]
	if s == nil {
		p.makeRoom(ref.Namespace)
		s = &refState{err: ErrPending, waiting: map[types.NamespacedName]bool{}, askedBy: map[types.NamespacedName]time.Time{}}
		p.refs[ref.key()] = s
	}
	s.asked, s.askedBy[object] = now, now
	if p.objects[object] == nil {
		p.objects[object] = &objectState{}
	}
	p.objects[object].asked = now
	due := !s.running && !now.Before(s.next)
	if due && !p.hold(ref) {
		due = false
		if p.wake != nil {
			p.wake(object, Timeout)
		}
	}
	if due {
		s.running, s.began = true, now
	}
	if s.running {
		s.waiting[object] = true
	}
	p.mu.Unlock()

	if due {
		p.turns.run(ref.Namespace, p.options.Go, func() { p.look(now, s, ref) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.commit, s.err
}

// Pushed makes the look-ups of all refs of a repository due, as the namespace of
// an object reads it: at once, or as soon as [PushInterval] has passed since the
// last look-up. The object is woken once for all of them that its last pass asked
// for, and once in a [PushInterval] at most, whether or not its passes look
// anything up. The push itself has no other effect: the commit is looked up.
func (p *Poller) Pushed(now time.Time, object types.NamespacedName, url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	o := p.objects[object]
	var wakeAt time.Time
	for k, s := range p.refs {
		if k.namespace != object.Namespace || k.url != url {
			continue
		}
		due := now
		if earliest := s.began.Add(PushInterval); earliest.After(due) {
			due = earliest
		}
		asks := o != nil && s.askedBy[object].Equal(o.asked)
		switch {
		case s.running:
			s.pushed = due
			s.waiting[object] = s.waiting[object] || asks
		case due.Before(s.next):
			s.next = due
		}
		if asks && due.After(wakeAt) {
			wakeAt = due
		}
	}
	if !wakeAt.IsZero() {
		p.wakeForPush(now, object, wakeAt)
	}
}

// wakeForPush wakes an object at a time, or later if it was woken for another
// push, unless it is going to be woken by then; the lock is held.
func (p *Poller) wakeForPush(now time.Time, object types.NamespacedName, at time.Time) {
	o := p.objects[object]
	if o.woken.After(now) && !o.woken.Before(at) || p.wake == nil {
		return
	}
	if earliest := o.woken.Add(PushInterval); !o.woken.After(now) && earliest.After(at) {
		at = earliest
	}
	o.woken = at
	p.wake(object, at.Sub(now))
}

// forget drops the refs that no pass asks for, and objects that have none, once
// in an [Interval]: there may be thousands; the lock is held.
func (p *Poller) forget(now time.Time) {
	if now.Sub(p.forgot) < Interval {
		return
	}
	p.forgot = now
	for k, s := range p.refs {
		for object, asked := range s.askedBy {
			if now.Sub(asked) > forgetAfter {
				delete(s.askedBy, object)
			}
		}
		if !s.running && now.Sub(s.asked) > forgetAfter {
			delete(p.refs, k)
		}
	}
	for object, o := range p.objects {
		if now.Sub(o.asked) > forgetAfter {
			delete(p.objects, object)
		}
	}
}

// makeRoom drops the refs of a namespace that has too many; the lock is held.
func (p *Poller) makeRoom(namespace string) {
	own := 0
	for k := range p.refs {
		if k.namespace == namespace {
			own++
		}
	}
	if own < maxKnown {
		return
	}
	for k, s := range p.refs {
		if k.namespace == namespace && !s.running {
			delete(p.refs, k)
		}
	}
}

// hold takes the memory of a look-up from its namespace's, until it has ended; the
// lock is held. A single one has room, whatever its size.
func (p *Poller) hold(ref Ref) bool {
	had, more := p.held[ref.Namespace], ref.bytes()
	if had > 0 && had+more > maxHeld {
		return false
	}
	p.held[ref.Namespace] = had + more
	return true
}

// drop gives the memory of a look-up back; the lock is held.
func (p *Poller) drop(ref Ref) {
	if p.held[ref.Namespace] -= ref.bytes(); p.held[ref.Namespace] <= 0 {
		delete(p.held, ref.Namespace)
	}
}

// bytes that a look-up holds.
func (r Ref) bytes() int64 {
	n := lookupBytes + len(r.Remote.URL) + len(r.Remote.Ref) + len(r.Remote.CA)
	for _, value := range r.Remote.Credentials {
		n += len(value)
	}
	return int64(n)
}

// resolve reads a repository. What a server sends must not end the process: a panic
// in a goroutine would, for the objects of all namespaces.
func (p *Poller) resolve(remote gitrepo.Remote) (commit string, err error) {
	// No pass' context: another pass takes the answer.
	ctx, cancel := context.WithTimeout(context.Background(), p.options.Timeout)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			log.Log.WithName("gitrefs").Error(fmt.Errorf("panic: %v", cause), "Reading a repository failed", "url", redact.URL(remote.URL), "stack", string(debug.Stack()))
			commit, err = "", errDefect
		}
	}()
	return p.options.Resolve(ctx, remote)
}

// errDefect is the error of a repository on which the operator fails. What it has sent
// is in the log.
var errDefect = errors.New("the operator cannot read what the repository's server sends; see its log, and report it as a defect")

// look looks up a ref, and wakes the objects that wait if the answer is new.
func (p *Poller) look(now time.Time, s *refState, ref Ref) {
	commit, err := p.resolve(ref.Remote)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = ErrNoAnswer
	case err != nil:
		err = errors.New(untrusted.Bound(err.Error())) // the text alone is kept
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(ref)
	changed := commit != s.commit || text(err) != text(s.err)
	s.commit, s.err, s.running = commit, err, false
	pause := Interval
	switch {
	case err == nil:
		s.failures = 0
	case errors.Is(err, ErrNoAnswer): // each attempt takes the time and the memory of others
		s.failures++
		pause = min(Interval<<min(s.failures, 8), MaxInterval)
	default:
		pause = min(RetryInterval<<min(2*s.failures, 8), MaxInterval)
		s.failures++
	}
	s.next = now.Add(pause)
	again := !s.pushed.IsZero()
	if again && s.pushed.Before(s.next) {
		s.next = s.pushed
	}
	s.pushed = time.Time{}
	for object, waits := range s.waiting {
		if !waits || p.wake == nil {
			continue
		}
		if changed || again {
			p.wake(object, 0)
		}
		if pause < Interval { // no pass comes as soon as that
			p.wake(object, pause)
		}
	}
	clear(s.waiting)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
