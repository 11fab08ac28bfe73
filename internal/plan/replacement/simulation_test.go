package replacement_test

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/replacement"
)

// model is a cluster as far as a replacement depends on it: three PVCs and their
// volumes, with the rules of the controllers that bind, release and reclaim
// them.
type model struct {
	t      *testing.T
	r      *rand.Rand
	now    time.Time
	uids   int
	claims map[string]*modelClaim
	vols   map[string]*modelVolume
	intent replacement.Intent
	held   bool
	// ended: the intent was cleared; finished: by Finish.
	ended, finished bool
	deleting        bool
	evict, keep     bool
	consumers       int
	job             string // run of the check; empty: none
	jobEnded        bool
	log             []string
	lossByHand      bool // a person deleted a volume, or the live PVC unsecured
}

type modelClaim struct {
	uid             int
	volume          string
	deleting, bound bool
}

type modelVolume struct {
	retain, marked, deleting bool
	ref                      string // name of a PVC
	uid                      int    // of it; 0: reserved by name
}

const live, next, previous = "live", "next", "previous"

// victim is a volume of another tenant, and the PVC that has it.
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

func (m *model) observation() replacement.Observation {
	claim := func(name string) replacement.Claim {
		c := m.claims[name]
		if c == nil {
			return replacement.Claim{}
		}
		return replacement.Claim{Exists: true, Deleting: c.deleting, Bound: c.bound && !c.deleting, Volume: c.volume, Made: m.now}
	}
	volume := func(name string) replacement.Volume {
		v := m.vols[name]
		if v == nil {
			return replacement.Volume{}
		}
		holder := replacement.HeldByGone
		c := m.claims[v.ref]
		if mine := v.uid == 0 || c != nil && c.uid == v.uid; mine {
			holder = map[string]replacement.Holder{live: replacement.HeldByLive, next: replacement.HeldByNext, previous: replacement.HeldByPrevious}[v.ref]
		}
		if v.ref == victim {
			return replacement.Volume{Exists: true, Holder: replacement.HeldByStranger}
		}
		return replacement.Volume{Exists: true, Deleting: v.deleting, Secured: v.marked && v.retain, Marked: v.marked, Holder: holder}
	}
	named := replacement.Volume{}
	if c := m.claims[live]; c != nil && c.volume != m.intent.Old && c.volume != m.intent.New {
		named = volume(c.volume)
	}
	return replacement.Observation{
		Now: m.now, Intent: m.intent, Live: claim(live), Next: claim(next), Previous: claim(previous),
		Old: volume(m.intent.Old), New: volume(m.intent.New), Named: named,
		Check:     replacement.Check{Exists: m.job != "", Ended: m.jobEnded, Run: m.job},
		Consumers: m.consumers, Evict: m.evict, Keep: m.keep, Held: m.held, Deleting: m.deleting,
	}
}

// step decides and acts once.
func (m *model) step() {
	m.now = m.now.Add(time.Second)
	d := replacement.Decide(m.observation())
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
	case replacement.MakeNext:
		if m.claims[next] == nil {
			m.create(next, "")
		}
		m.uids++
		m.job, m.jobEnded = fmt.Sprint("run-", m.uids), false
	case replacement.WaitForCheck:
		m.jobEnded = true
	case replacement.RecordCheck:
		m.intent.Recorded, m.intent.Attempts, m.intent.RecordedAt = m.job, m.intent.Attempts+1, m.now
		switch v := m.r.Intn(6); {
		case v == 0, m.intent.Attempts > replacement.MaxAttempts:
			m.intent.GivenUp = true
		case v > 1 && m.claims[next].bound:
			m.intent.Old, m.intent.New = "", m.claims[next].volume
			if c := m.claims[live]; c != nil && c.bound {
				m.intent.Old = c.volume
			}
		}
	case replacement.ClearCheck:
		m.job, m.jobEnded = "", false
	case replacement.TakeHold:
		m.held = !m.deleting
	case replacement.RecordOld:
		m.intent.Old = d.Volume
	case replacement.SecureNew, replacement.SecureOld:
		m.vols[d.Volume].retain, m.vols[d.Volume].marked = true, true
	case replacement.DropNext:
		drop(next)
	case replacement.ReserveNew, replacement.RevertOld:
		reserve(d.Volume, live)
	case replacement.DropLive:
		drop(live)
	case replacement.Evict:
		m.consumers = 0
	case replacement.MakeLive:
		m.create(live, d.Volume)
	case replacement.FreeNew, replacement.FreeOld:
		free(d.Volume)
	case replacement.DropPrevious:
		drop(previous)
	case replacement.ReserveOld:
		reserve(d.Volume, previous)
	case replacement.MakePrevious:
		m.create(previous, d.Volume)
	case replacement.GiveUp:
		m.intent.GivenUp = true
	case replacement.Finish, replacement.Abandon:
		m.ended, m.finished = true, d.Step == replacement.Finish
	case replacement.WaitForSource, replacement.WaitForAdmission, replacement.WaitForRetry, replacement.WaitForIdle, replacement.WaitForConsumers, replacement.WaitForNextDeleted, replacement.WaitForLiveDeleted, replacement.WaitForLive,
		replacement.WaitForPreviousDeleted, replacement.WaitForPrevious:
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
		if m.held && !m.deleting {
			m.deleting = true
			m.log = append(m.log, "the owner goes")
		}
	case 7:
		m.job, m.jobEnded = "", false
	case 11, 12: // a PVC of one of our names asks for another tenant's volume
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

// TestSimulation disturbs a thousand replacements at random and holds that
// nothing is lost but what a person deleted, that each comes to an end when the
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
