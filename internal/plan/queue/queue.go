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
	// Through has been at it, and is no more.
	Through
)

// Line bounds the number of admitted tickets. Its zero value admits all.
type Line struct {
	max int

	mu      sync.Mutex
	let     map[string]time.Time // in, and when
	waiting map[string]place
}

type place struct {
	Ticket
	asked time.Time
}

// New is a line that lets at most max in at once; 0 is no limit.
func New(limit int) *Line {
	return &Line{max: limit, let: map[string]time.Time{}, waiting: map[string]place{}}
}

// Ask reports whether the work may begin, and otherwise when to ask again and
// how many tickets are ahead. known is all existing work with its progress: a
// ticket that is not in it is gone.
func (l *Line) Ask(t Ticket, known map[string]State, now time.Time) (begin bool, again time.Duration, ahead int) {
	if l == nil || l.max <= 0 {
		return true, 0, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	busy := l.busy(t.ID, known, now)
	for id, p := range l.waiting {
		if state, exists := known[id]; !exists || state != Outside || now.Sub(p.asked) > keepFor {
			delete(l.waiting, id)
		} else if id != t.ID && p.before(t) {
			ahead++
		}
	}
	if busy+ahead < l.max {
		l.let[t.ID] = now
		delete(l.waiting, t.ID)
		return true, 0, 0
	}
	l.waiting[t.ID] = place{Ticket: t, asked: now}
	return false, spread(t.ID, min(interval*time.Duration(1+ahead/l.max), longest)), busy + ahead
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

// busy counts those who are at it, beside the one who asks.
func (l *Line) busy(self string, known map[string]State, now time.Time) int {
	at := map[string]bool{}
	for id, state := range known {
		if state == Inside {
			at[id] = true
		}
	}
	for id, since := range l.let {
		state, exists := known[id]
		if !exists || state != Outside || now.Sub(since) > fresh { // gone, or shows it
			delete(l.let, id)
			continue
		}
		at[id] = true
	}
	delete(at, self)
	return len(at)
}

// spread adds up to a half to a time, so that those who wait do not ask all at
// once; the same for the same one.
func spread(id string, d time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return d + d*time.Duration(h.Sum32()%1000)/2000
}
