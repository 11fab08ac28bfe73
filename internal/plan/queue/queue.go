package queue

import (
	"hash/fnv"
	"sync"
	"time"
)

const (
	// fresh is how long an admitted ticket counts without visible work.
	fresh = time.Minute
	// keepFor is how long a waiting ticket keeps its place without asking again.
	keepFor = 5 * time.Minute
	// interval is how often the first in line asks again, and longest the last.
	interval = 5 * time.Second
	longest  = 2 * time.Minute
)

// Ticket is a request for a place.
type Ticket struct {
	// ID of the asker.
	ID string
	// Share that the work belongs to, such as a namespace. Tickets without one
	// have no bound but that of the line.
	Share string
	// Since is when the work became due: the oldest goes first.
	Since time.Time
}

func (t Ticket) before(o Ticket) bool {
	if !t.Since.Equal(o.Since) {
		return t.Since.Before(o.Since)
	}
	return t.ID < o.ID
}

// State is the visible progress of the work of a ticket.
type State int

// The states of work.
const (
	// Outside waits for a place, or was admitted and is not visible yet.
	Outside State = iota
	// Inside is at it.
	Inside
	// Idle was admitted and does not run: it waits for a node, an image or a
	// quota. Or it has had its place for long. It takes a place of its own share,
	// and none of other shares.
	Idle
	// Through has been at it, and is no more.
	Through
)

// Work is existing work with its progress.
type Work struct {
	Share string
	State State
}

// Line bounds the number of admitted tickets. Its zero value admits all.
type Line struct {
	max int

	mu      sync.Mutex
	let     map[string]admitted
	waiting map[string]place
}

// admitted is a ticket that got a place, and when.
type admitted struct {
	share string
	at    time.Time
}

type place struct {
	Ticket
	asked time.Time
}

// New is a line that admits at most max at once; 0 is no limit.
func New(limit int) *Line {
	return &Line{max: limit, let: map[string]admitted{}, waiting: map[string]place{}}
}

// Share is how many places one share can have: all but one, so that others never
// wait for one share alone. A line with one place cannot be shared.
func (l *Line) Share() int { return max(1, l.max-1) }

// Ask reports whether the work may begin, and otherwise when to ask again and
// how many tickets are ahead. known is all existing work by ID: a ticket that is
// not in it is gone.
func (l *Line) Ask(t Ticket, known map[string]Work, now time.Time) (begin bool, again time.Duration, ahead int) {
	if l == nil || l.max <= 0 {
		return true, 0, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.waiting {
		if work, exists := known[id]; !exists || work.State != Outside || now.Sub(p.asked) > keepFor {
			delete(l.waiting, id)
		}
	}
	delete(l.waiting, t.ID)
	used := l.used(t.ID, known, now)
	busy := used.busy(l.Share())
	ahead, full := l.before(t, used, l.max-busy)
	if !full && busy+ahead < l.max {
		l.let[t.ID] = admitted{share: t.Share, at: now}
		return true, 0, 0
	}
	l.waiting[t.ID] = place{Ticket: t, asked: now}
	return false, spread(t.ID, min(interval*time.Duration(1+ahead/l.max), longest)), busy + ahead
}

// before is how many of those that wait get a place before a ticket does, and
// whether the share of the ticket is full by then. It hands out the free places
// in order, so it is no more work than there are places for each that waits.
func (l *Line) before(t Ticket, used usage, free int) (ahead int, full bool) {
	served := map[string]bool{}
	for ; ahead < free; ahead++ {
		next, found := t, used.of(t.Share) < l.Share()
		for id, p := range l.waiting {
			if served[id] || p.Share != "" && used.of(p.Share) >= l.Share() {
				continue
			}
			if !found || used.first(p.Ticket, next) {
				next, found = p.Ticket, true
			}
		}
		if !found {
			return ahead, true
		}
		if next.ID == t.ID {
			return ahead, false
		}
		served[next.ID] = true
		used.take(next.Share)
	}
	for _, p := range l.waiting { // the length of the line, for the message
		if !served[p.ID] && used.first(p.Ticket, t) {
			ahead++
		}
	}
	return ahead, used.of(t.Share) >= l.Share()
}

// usage is how many places each share has taken.
type usage struct {
	inside, idle map[string]int
}

// of is what counts against the bound of a share.
func (u usage) of(share string) int {
	if share == "" {
		return 0
	}
	return u.inside[share] + u.idle[share]
}

// busy is how many places are taken. A share never takes more than its bound
// from others, also when work that was idle begins to run late.
func (u usage) busy(bound int) (n int) {
	for share, inside := range u.inside {
		if share != "" {
			inside = min(inside, bound)
		}
		n += inside
	}
	return n
}

func (u usage) take(share string) { u.inside[share]++ }

// first reports whether ticket a goes before b.
func (u usage) first(a, b Ticket) bool {
	if x, y := u.of(a.Share), u.of(b.Share); x != y {
		return x < y
	}
	return a.before(b)
}

// Release gives up a place.
func (l *Line) Release(id string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.let, id)
	delete(l.waiting, id)
}

// used are the places that are taken, beside that of the ticket that asks.
func (l *Line) used(self string, known map[string]Work, now time.Time) usage {
	u := usage{inside: map[string]int{}, idle: map[string]int{}}
	for id, a := range l.let {
		work, exists := known[id]
		if !exists || work.State != Outside || now.Sub(a.at) > fresh { // gone, or shows it
			delete(l.let, id)
			continue
		}
		if id != self {
			u.take(a.share)
		}
	}
	for id, work := range known {
		switch {
		case id == self:
		case work.State == Inside:
			u.take(work.Share)
		case work.State == Idle:
			u.idle[work.Share]++
		}
	}
	return u
}

// spread adds up to a half to a time, so that those who wait do not ask all at
// once; the same for the same one.
func spread(id string, d time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return d + d*time.Duration(h.Sum32()%1000)/2000
}
