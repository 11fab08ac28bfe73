package swap_test

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/swap"
)

// model is a cluster as far as a swap knows it: three claims and their volumes,
// with the rules of the controllers that bind, release and reclaim them.
type model struct {
	t      *testing.T
	r      *rand.Rand
	now    time.Time
	uids   int
	claims map[string]*modelClaim
	vols   map[string]*modelVolume
	intent swap.Intent
	held   bool
	// ended: the intent was cleared; finished: by Finish.
	ended, finished bool
	leaving         bool
	evict, keep     bool
	consumers       int
	job             string // run of the check; empty: none
	jobEnded        bool
	log             []string
	lossByHand      bool // a person deleted a volume, or the live claim unsecured
}

type modelClaim struct {
	uid             int
	volume          string
	deleting, bound bool
}

type modelVolume struct {
	retain, marked, deleting bool
	ref                      string // name of a claim
	uid                      int    // of it; 0: reserved by name
}

const live, next, previous = "live", "next", "previous"

// victim is a volume of another tenant, and the claim that has it.
const victim = "victim"

func newModel(t *testing.T, seed int64) *model {
	t.Helper()
	m := &model{t: t, r: rand.New(rand.NewSource(seed)), now: noon, claims: map[string]*modelClaim{}, vols: map[string]*modelVolume{}} //nolint:gosec // a repeatable simulation
	m.evict, m.keep = m.r.Intn(2) == 0, m.r.Intn(2) == 0
	m.create(live, "")
	m.cluster()
	m.intent.Old = m.claims[live].volume
	m.vols[victim] = &modelVolume{ref: victim, uid: 1 << 30}
	return m
}

func (m *model) create(name, volume string) {
	m.uids++
	m.claims[name] = &modelClaim{uid: m.uids, volume: volume}
}

// cluster lets the controllers of the cluster do what is left to do.
func (m *model) cluster() {
	for name, c := range m.claims {
		used := name == live && m.consumers > 0 || name == next && m.job != ""
		if c.deleting && !used {
			delete(m.claims, name)
		}
	}
	for name, c := range m.claims {
		if c.bound || c.deleting {
			continue
		}
		if c.volume == "" {
			c.volume = fmt.Sprintf("vol-%d", c.uid)
			m.vols[c.volume] = &modelVolume{ref: name, uid: c.uid}
		}
		if v := m.vols[c.volume]; v != nil && v.ref == name && (v.uid == 0 || v.uid == c.uid) {
			v.uid, c.bound = c.uid, true
		}
	}
	for name, v := range m.vols {
		c := m.claims[v.ref]
		free := name != victim && v.uid != 0 && (c == nil || c.uid != v.uid)
		if free && (!v.retain || v.deleting) {
			delete(m.vols, name)
		}
	}
}

func (m *model) facts() swap.Facts {
	claim := func(name string) swap.Claim {
		c := m.claims[name]
		if c == nil {
			return swap.Claim{}
		}
		return swap.Claim{Exists: true, Deleting: c.deleting, Bound: c.bound && !c.deleting, Volume: c.volume, Made: m.now}
	}
	volume := func(name string) swap.Volume {
		v := m.vols[name]
		if v == nil {
			return swap.Volume{}
		}
		holder := swap.HeldByGone
		c := m.claims[v.ref]
		if mine := v.uid == 0 || c != nil && c.uid == v.uid; mine {
			holder = map[string]swap.Holder{live: swap.HeldByLive, next: swap.HeldByNext, previous: swap.HeldByPrevious}[v.ref]
		}
		if v.ref == victim {
			return swap.Volume{Exists: true, Holder: swap.HeldByStranger}
		}
		return swap.Volume{Exists: true, Deleting: v.deleting, Secured: v.marked && v.retain, Marked: v.marked, Holder: holder}
	}
	named := swap.Volume{}
	if c := m.claims[live]; c != nil && c.volume != m.intent.Old && c.volume != m.intent.New {
		named = volume(c.volume)
	}
	return swap.Facts{
		Now: m.now, Intent: m.intent, Live: claim(live), Next: claim(next), Previous: claim(previous),
		Old: volume(m.intent.Old), New: volume(m.intent.New), Named: named,
		Check:     swap.Check{Exists: m.job != "", Ended: m.jobEnded, Run: m.job},
		Consumers: m.consumers, Evict: m.evict, Keep: m.keep, Held: m.held, Leaving: m.leaving,
	}
}

// step decides and acts once.
func (m *model) step() {
	m.now = m.now.Add(time.Second)
	d := swap.Next(m.facts())
	m.log = append(m.log, string(d.Step)+" "+d.Volume)
	free := func(name string) {
		v := m.vols[name]
		v.retain, v.marked = false, false
		if v.uid == 0 {
			v.uid = -1
		}
	}
	reserve := func(volume, claim string) { m.vols[volume].ref, m.vols[volume].uid = claim, 0 }
	drop := func(name string) {
		if c := m.claims[name]; c != nil {
			c.deleting = true
		}
	}
	switch d.Step {
	case swap.MakeNext:
		if m.claims[next] == nil {
			m.create(next, "")
		}
		m.uids++
		m.job, m.jobEnded = fmt.Sprint("run-", m.uids), false
	case swap.AwaitCheck:
		m.jobEnded = true
	case swap.BookCheck:
		m.intent.Booked, m.intent.Attempts, m.intent.BookedAt = m.job, m.intent.Attempts+1, m.now
		switch v := m.r.Intn(6); {
		case v == 0, m.intent.Attempts > swap.MaxAttempts:
			m.intent.GivenUp = true
		case v > 1 && m.claims[next].bound:
			m.intent.Old, m.intent.New = "", m.claims[next].volume
			if c := m.claims[live]; c != nil && c.bound {
				m.intent.Old = c.volume
			}
		}
	case swap.ClearCheck:
		m.job, m.jobEnded = "", false
	case swap.TakeHold:
		m.held = !m.leaving
	case swap.NoteOld:
		m.intent.Old = d.Volume
	case swap.SecureNew, swap.SecureOld:
		m.vols[d.Volume].retain, m.vols[d.Volume].marked = true, true
	case swap.DropNext:
		drop(next)
	case swap.ReserveNew, swap.RevertOld:
		reserve(d.Volume, live)
	case swap.DropLive:
		drop(live)
	case swap.Evict:
		m.consumers = 0
	case swap.MakeLive:
		m.create(live, d.Volume)
	case swap.FreeNew, swap.FreeOld:
		free(d.Volume)
	case swap.DropPrevious:
		drop(previous)
	case swap.ReserveOld:
		reserve(d.Volume, previous)
	case swap.MakePrevious:
		m.create(previous, d.Volume)
	case swap.GiveUp:
		m.intent.GivenUp = true
	case swap.Finish, swap.Abandon:
		m.ended, m.finished = true, d.Step == swap.Finish
	case swap.AwaitSource, swap.AwaitRetry, swap.AwaitBusy, swap.AwaitConsumers, swap.AwaitNextGone, swap.AwaitLiveGone, swap.AwaitLive,
		swap.AwaitPreviousGone, swap.AwaitPrevious:
	}
}

// disturb is what others do in between.
func (m *model) disturb() {
	old := m.vols[m.intent.Old]
	switch m.r.Intn(40) {
	case 0:
		if c := m.claims[live]; c != nil && !c.deleting {
			c.deleting = true
			m.lossByHand = m.lossByHand || old == nil || !old.retain || m.intent.New == "" || c.volume != m.intent.Old
			m.log = append(m.log, "somebody deletes the live claim")
		}
	case 1:
		if c := m.claims[next]; c != nil {
			c.deleting = true
			m.log = append(m.log, "somebody deletes the next claim")
		}
	case 2:
		if v := m.vols[m.intent.New]; v != nil {
			v.deleting, m.lossByHand = true, true
			m.log = append(m.log, "somebody deletes the new volume")
		}
	case 3:
		if old != nil {
			old.deleting, m.lossByHand = true, true
			m.log = append(m.log, "somebody deletes the old volume")
		}
	case 4, 5:
		if c := m.claims[live]; c != nil && !c.deleting {
			m.consumers = 1 + m.r.Intn(3)
		}
	case 6:
		if m.held && !m.leaving {
			m.leaving = true
			m.log = append(m.log, "the owner goes")
		}
	case 7:
		m.job, m.jobEnded = "", false
	case 11, 12: // a claim of one of our names asks for another tenant's volume
		name := []string{live, next, previous}[m.r.Intn(3)]
		if m.claims[name] == nil {
			m.create(name, victim)
			m.lossByHand = m.lossByHand || name == live
			m.log = append(m.log, "somebody makes "+name+" on another tenant's volume")
		}
	case 8, 9, 10:
		m.consumers = 0
	}
}

func (m *model) fatal(what string) {
	m.t.Helper()
	m.t.Fatalf("%s\nintent %+v\nlog %q", what, m.intent, m.log)
}

// safe are the invariants.
func (m *model) safe() {
	m.t.Helper()
	if v := m.vols[victim]; v == nil || v.retain || v.marked || v.deleting || v.ref != victim {
		m.fatal("another tenant's volume was written to")
	}
	if m.lossByHand {
		return
	}
	c := m.claims[live]
	if c != nil && !c.deleting && m.vols[c.volume] == nil && c.bound {
		m.fatal("the live claim has lost its volume")
	}
	if m.vols[m.intent.Old] == nil && (m.intent.New == "" || m.vols[m.intent.New] == nil || c == nil || c.volume != m.intent.New) {
		m.fatal("the old volume is gone before the new one took its place")
	}
}

// TestSimulation disturbs a thousand swaps at random and holds that nothing is
// lost but what a person deleted, that each comes to an end when the
// disturbance does, and that it leaves nothing behind.
func TestSimulation(t *testing.T) {
	finished := 0
	for seed := range int64(1000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for i := 0; !m.ended; i++ {
				if i == 400 {
					m.fatal("it comes to no end")
				}
				if i < 60 {
					m.disturb()
				} else {
					m.consumers = 0
				}
				m.cluster()
				m.safe()
				m.step()
				m.safe()
			}
			for range 5 {
				m.cluster()
			}
			for name, v := range m.vols {
				if v.marked || v.retain {
					m.fatal("volume " + name + " is left secured")
				}
			}
			if c := m.claims[next]; c != nil && c.volume != victim || m.job != "" {
				m.fatal("the next claim or its check is left")
			}
			if c := m.claims[live]; !m.lossByHand && (c == nil || !c.bound || c.deleting) {
				m.fatal("there is no live claim")
			}
			if m.finished {
				finished++
			}
		})
	}
	if finished < 300 {
		t.Errorf("only %d swaps of 1000 were finished: the simulation shows little", finished)
	}
}
