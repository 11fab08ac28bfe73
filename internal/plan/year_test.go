package plan_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/verification"
	"gocache.dev/operator/internal/plan/warmup"
	"gocache.dev/operator/internal/plan/writer"
)

var update = flag.Bool("update", false, "write the golden year")

const (
	hour = time.Hour
	day  = 24 * hour
)

// year is a cache that lives through a year of schedules, failures and a clock
// that is put forward and back. The test plays the controllers, by the same
// planners, and the cluster.
type year struct {
	t    *testing.T
	rand *rand.Rand
	log  strings.Builder
	// golden means that the log is compared with one that was read.
	golden bool

	policy policy

	// clock is the time that all see; since is how long the year really
	// lasts already.
	clock time.Time
	since time.Duration
	// down until then there is no manager; strange until then the clock has
	// been moved or the manager away within the memory of any schedule.
	down, strange time.Duration
	// wakes of the GoCache's controller, and polls of the other one's; stirred
	// is set if a user has touched the GoCache.
	wakes, polls []time.Duration
	stirred      bool
	passes       int

	// What the status of the GoCache holds.
	created           time.Time
	warm              warmed
	snapshottedRun    string
	lastSnapshot      time.Time // by schedule
	starts            map[writer.Action]time.Time
	sources           int
	request, answered string

	// What there is in the cluster.
	writer    *run
	snapshots []*created

	// For the invariants: when each scheduled thing really happened last.
	happened map[string]time.Duration
	counts   map[string]int
}

type policy struct {
	warmUp, snapshots, integrity, cleanup *schedule.Plan
	period                                map[string]time.Duration // the longest pause between two starts
	afterWarmUp                           bool
	retention                             snapshot.Retention
	deadline                              time.Duration
	trouble                               int // of 100 runs
}

type warmed struct {
	run, inputs, success  string
	start, end, succeeded time.Time
	failures              int32
}

type run struct {
	action  writer.Action
	id      string
	inputs  string
	request string
	started time.Time
	ends    time.Duration
	outcome string
}

// created is a CacheSnapshot with its status and its Job.
type created struct {
	name                      string
	made, began, ready        time.Time
	readyAt                   time.Duration // when the driver will have created it; 0: not asked
	observation               verification.Observation
	jobEnds, leftoversUntil   time.Duration
	jobVerdict                v1alpha1.Verdict
	stage                     verification.Stage
	verified, stalled, pinned bool
}

func plan(t *testing.T, s v1alpha1.Schedule, seed string) *schedule.Plan {
	t.Helper()
	p, err := schedule.Parse(s, seed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// schedules that a person might write, with the longest pause between two
// starts in any zone, on the days too on which its clock is put forward or back.
var schedules = []struct {
	text  string
	pause time.Duration
}{
	{"30 2 * * *", day + hour}, {"20 */4 * * *", 5 * hour}, {"0 */6 * * *", 7 * hour}, {"@weekly", 7*day + hour},
	{"15 2 * * 0", 7*day + hour}, {"@every 5h", 5 * hour}, {"0 1-3 * * *", 24 * hour}, {"@monthly", 31*day + hour},
}

var zones = []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}

func newYear(t *testing.T, seed uint64) *year {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 4))
	y := &year{
		t: t, rand: r, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(int64(7 * day)))),
		starts: map[writer.Action]time.Time{}, happened: map[string]time.Duration{}, counts: map[string]int{}, strange: -1, stirred: true,
		golden: seed == 0,
	}
	y.created = y.stamp()
	y.policy = policy{
		period: map[string]time.Duration{}, afterWarmUp: r.IntN(2) == 0, trouble: r.IntN(40), deadline: 2 * hour,
		retention: snapshot.Retention{Last: 1 + r.IntN(4), Daily: r.IntN(4), Weekly: r.IntN(3), Monthly: r.IntN(3)},
	}
	if r.IntN(3) == 0 {
		y.policy.retention.MaxAge = 10 * day
	}
	for i, into := range []**schedule.Plan{&y.policy.warmUp, &y.policy.snapshots, &y.policy.integrity, &y.policy.cleanup} {
		choice, name := schedules[r.IntN(len(schedules))], scheduled[i]
		if seed == 0 {
			choice = schedules[3]
		}
		s := v1alpha1.Schedule{Schedule: choice.text, TimeZone: zones[r.IntN(len(zones))]}
		*into = plan(t, s, fmt.Sprint(seed, i))
		y.policy.period[name] = choice.pause
	}
	return y
}

// scheduled things, in the order of the policy.
var scheduled = []string{string(writer.WarmUp), "snapshot", string(writer.Integrity), string(writer.Cleanup)}

// stamp is the clock as a status holds it.
func (y *year) stamp() time.Time { return y.clock.Truncate(time.Second) }

func (y *year) logf(format string, args ...any) {
	if y.since > 90*day && y.golden {
		return // a quarter is enough to read
	}
	fmt.Fprintf(&y.log, "%s %s\n", y.clock.Format("01-02 15:04:05"), fmt.Sprintf(format, args...))
}

// last is the end of the log.
func (y *year) last() string { return y.log.String()[max(0, y.log.Len()-2000):] }

// chance is true in n of 100 cases.
func (y *year) chance(n int) bool { return y.rand.IntN(100) < n }

func (y *year) between(a, b time.Duration) time.Duration {
	return a + time.Duration(y.rand.Int64N(int64(b-a)))
}

// live goes from event to event.
func (y *year) live() {
	nextStrike := y.between(hour, 3*day)
	for y.since < 365*day {
		if y.since >= y.down {
			for n := 0; y.pass(); n++ {
				if n > 100 {
					y.t.Fatalf("%s: no end of passes; the last said:\n%s", y.clock, y.last())
				}
			}
		}
		next := nextStrike
		for _, at := range slices.Concat(y.wakes, y.polls) {
			if at > y.since {
				next = min(next, at)
			}
		}
		if y.down > y.since {
			next = min(next, y.down)
		}
		y.clock = y.clock.Add(next - y.since)
		y.since = next
		if y.since == nextStrike {
			y.strike()
			nextStrike = y.since + y.between(hour, 5*day)
		}
	}
}

// strike is an unplanned event.
func (y *year) strike() {
	y.stirred = true
	switch y.rand.IntN(7) {
	case 0: // the clock was wrong, and is put right, or the other way round
		jump := y.between(-2*hour, 2*hour)
		y.clock = y.clock.Add(jump)
		y.upset(jump.Abs())
		y.logf("the clock jumps by %s", jump.Round(time.Second))
	case 1:
		y.down = y.since + y.between(time.Minute, 2*day)
		y.upset(y.down - y.since)
		y.logf("the manager is away for %s", (y.down - y.since).Round(time.Second))
	case 2:
		y.sources++
		y.logf("the sources change")
	case 3:
		y.request = fmt.Sprint("r", y.since)
		y.logf("a person asks for a warm-up")
	case 4:
		if n := len(y.snapshots); n > 0 {
			s := y.snapshots[y.rand.IntN(n)]
			s.pinned = !s.pinned
		}
	default:
	}
}

// upset: for the longest pause of any schedule, punctuality is not checked.
func (y *year) upset(by time.Duration) { y.strange = max(y.strange, y.since+by) }

// wake asks for a pass after a while.
func (y *year) wake(d time.Duration) {
	if d > 0 {
		y.wakes = append(y.wakes, y.since+d)
	}
}

func (y *year) wakeAt(t time.Time) {
	if !t.IsZero() {
		y.wake(max(t.Sub(y.clock), time.Second)) // as the controller does
	}
}

// pass is one of the controller of CacheSnapshots over each of them, and one of
// the GoCache's, if anything has woken it. It reports whether it changed
// anything.
func (y *year) pass() (again bool) {
	y.passes++
	y.polls = y.polls[:0]
	for _, s := range y.snapshots {
		again = y.verify(s) || again
	}
	awake := slices.ContainsFunc(y.wakes, func(at time.Duration) bool { return at <= y.since })
	if again || awake || y.stirred {
		y.stirred = false
		y.wakes = y.wakes[:0]
		again = y.record() || again
		again = y.write() || again
		again = y.snapshot() || again
		if again { // what time alone drops can wait for the next change
			y.retain()
		}
		if w := y.writer; w != nil {
			y.wakes = append(y.wakes, w.ends)
		}
	}
	y.check()
	for _, s := range y.snapshots {
		y.polls = append(y.polls, s.readyAt, s.jobEnds, s.leftoversUntil)
	}
	return again
}

// record ends a writer.
func (y *year) record() bool {
	w := y.writer
	if w == nil || y.since < w.ends {
		return false
	}
	y.writer = nil
	if w.action != writer.WarmUp {
		y.logf("%s ended", w.action)
		return true
	}
	y.warm.run, y.warm.inputs, y.warm.start, y.warm.end = w.id, w.inputs, w.started, y.stamp()
	if w.request != "" {
		y.answered = w.request
	}
	y.logf("warm-up %s", w.outcome)
	if w.outcome != "succeeded" {
		y.warm.failures++
		return true
	}
	y.warm.failures, y.warm.success, y.warm.succeeded = 0, w.id, y.warm.end
	return true
}

// write starts the writer.
func (y *year) write() bool {
	var actions []writer.DueAction
	d := warmup.Decide(warmup.Observation{
		Now: y.clock, Schedule: y.policy.warmUp, Created: y.created, Inputs: fmt.Sprint(y.sources), Requested: y.request != y.answered,
		Ran: y.warm.run != "", LastInputs: y.warm.inputs, LastStart: y.warm.start, LastEnd: y.warm.end, Failures: y.warm.failures,
	})
	y.wakeAt(d.Wake)
	if d.Due {
		actions = append(actions, writer.DueAction{Action: writer.WarmUp, Cause: d.Cause, Since: d.Since, LastStart: y.warm.start})
	}
	if y.warm.success != "" {
		for action, p := range map[writer.Action]*schedule.Plan{writer.Integrity: y.policy.integrity, writer.Cleanup: y.policy.cleanup} {
			last := y.created
			if y.starts[action].After(last) {
				last = y.starts[action]
			}
			due, start := p.Due(last, y.clock)
			if due {
				actions = append(actions, writer.DueAction{Action: action, Cause: "scheduled", Since: start, LastStart: y.starts[action]})
			} else {
				y.wakeAt(start)
			}
		}
	}
	slices.SortFunc(actions, func(a, b writer.DueAction) int { return cmp.Compare(a.Action, b.Action) })
	next, ok := writer.Decide(actions)
	if !ok || y.writer != nil {
		return false
	}
	if y.creating() != nil {
		y.wake(30 * time.Second)
		return false
	}
	y.counts[string(next.Action)]++
	w := &run{
		action: next.Action, id: fmt.Sprint(next.Action, y.counts[string(next.Action)]), inputs: fmt.Sprint(y.sources), started: y.stamp(),
		ends: y.since + y.between(time.Minute, hour/6), outcome: "succeeded",
	}
	if next.Action == writer.WarmUp && y.request != y.answered {
		w.request = y.request
	}
	if y.chance(y.policy.trouble) {
		w.outcome = "failed"
	}
	y.writer, y.starts[next.Action] = w, w.started
	y.happens(string(next.Action))
	y.logf("%s starts: %s", next.Action, next.Cause)
	return true
}

// creating is a snapshot that a driver may be creating now.
func (y *year) creating() *created {
	for _, s := range y.snapshots {
		if !s.observation.Started.IsZero() && s.ready.IsZero() && !s.stalled {
			return s
		}
	}
	return nil
}

// snapshot makes a CacheSnapshot when one is due.
func (y *year) snapshot() bool {
	due, next := snapshot.Decide(snapshot.Observation{
		Now: y.clock, Cache: "ci", AfterWarmUp: y.policy.afterWarmUp, SuccessRun: y.warm.success, SnapshottedRun: y.snapshottedRun,
		SuccessTime: y.warm.succeeded, Schedule: y.policy.snapshots, Created: y.created, LastScheduled: y.lastSnapshot,
	})
	y.wakeAt(next)
	if due == nil {
		return false
	}
	if due.Run != "" {
		y.snapshottedRun = due.Run
	}
	if due.Scheduled {
		y.lastSnapshot = y.stamp()
		y.happens("snapshot")
	}
	if slices.ContainsFunc(y.snapshots, func(s *created) bool { return s.name == due.Name }) {
		return true // applied once more
	}
	y.counts["snapshot"]++
	y.snapshots = append(y.snapshots, &created{name: due.Name, made: y.stamp()})
	y.logf("%s is made: %s", due.Name, due.Cause)
	return true
}

// verify is a pass over one CacheSnapshot.
func (y *year) verify(s *created) bool {
	f := &s.observation
	f.Now, f.Deadline, f.Mode = y.clock, y.policy.deadline, v1alpha1.VerificationRequired
	f.SourceReady, f.SourceBusy, f.Began = true, y.writer != nil, s.began
	f.SnapshotReady = s.readyAt > 0 && y.since >= s.readyAt
	if f.SnapshotReady && s.ready.IsZero() {
		s.ready, f.WasReady = y.stamp(), true
	}
	f.Check.Ended = f.Check.Job && y.since >= s.jobEnds
	f.Clone = f.Check.Job || y.since < s.leftoversUntil
	d := verification.Decide(*f)
	if d.Wake > 0 {
		y.polls = append(y.polls, y.since+d.Wake)
	}
	changed := d.Stage != s.stage
	s.stage = d.Stage
	switch d.Stage {
	case verification.Admit:
		f.Started = y.stamp()
	case verification.CreateSnapshot:
		s.began, f.Asked = y.stamp(), true
		s.readyAt = y.since + y.between(time.Second, time.Minute)
		if y.chance(y.policy.trouble / 8) {
			s.readyAt = y.since + 3*hour // the driver is not well
		}
		if y.writer != nil {
			y.t.Fatalf("%s: %s is cut beside %s", y.clock, s.name, y.writer.id)
		}
	case verification.Check:
		f.Check.Job, f.Check.Run = true, fmt.Sprint(s.name, "-", f.Check.Attempts+1)
		s.jobEnds = y.since + y.between(10*time.Second, 10*time.Minute)
		s.jobVerdict = v1alpha1.VerdictIntact
		if y.chance(y.policy.trouble) {
			s.jobVerdict = []v1alpha1.Verdict{v1alpha1.VerdictCorrupt, v1alpha1.VerdictInconclusive}[y.rand.IntN(2)]
		}
	case verification.RecordVerdict:
		f.Check.Recorded, f.Check.RecordedAt, f.Verdict = f.Check.Run, y.stamp(), s.jobVerdict
		f.Check.Attempts++
		y.logf("%s is %s, attempt %d", s.name, f.Verdict, f.Check.Attempts)
	case verification.CleanUp:
		if f.Check.Job {
			f.Check.Job, s.leftoversUntil = false, y.since+5*time.Second
			changed = true
		}
	case verification.Done:
		s.verified, s.stalled = f.Verdict == v1alpha1.VerdictIntact, f.Verdict != v1alpha1.VerdictIntact
	case verification.Expired:
		if !s.stalled {
			y.logf("%s has no verdict in time", s.name)
		}
		s.stalled = true
	case verification.Suspended, verification.WaitForSource, verification.WaitForWriter, verification.WaitForSnapshot, verification.WaitForJob,
		verification.WaitForRetry, verification.SnapshotLost, verification.Repair, verification.WaitForRepair, verification.RecordRepair, verification.RestartRepair,
		verification.SnapshotRepaired, verification.WaitForRepairedSnapshot, verification.DeleteRepairedClone, verification.OfflineBuild, verification.WaitForOfflineBuild, verification.RecordOfflineBuild,
		verification.ClearJobs, verification.DeleteOriginalSnapshot,
		verification.BeginRepeat, verification.Repeat, verification.WaitForRepeat, verification.RecordRepeat, verification.EndRepeat: // no policy of this test has a repetition
	}
	return changed
}

func (y *year) kept() (all []snapshot.Kept) {
	for _, s := range y.snapshots {
		created := s.made
		if !s.ready.IsZero() {
			created = s.ready
		}
		all = append(all, snapshot.Kept{Name: s.name, Created: created, Verified: s.verified, Pending: !s.verified && !s.stalled, Protected: s.pinned})
	}
	return all
}

// retain drops what the policy does not keep.
func (y *year) retain() {
	kept := y.kept()
	newest := snapshot.Newest(kept)
	dropped := snapshot.Drop(kept, y.policy.retention, y.clock)
	if newest != "" && slices.Contains(dropped, newest) {
		y.t.Fatalf("%s: %s is dropped, the newest verified one", y.clock, newest)
	}
	for _, name := range dropped {
		y.logf("%s is dropped", name)
	}
	y.snapshots = slices.DeleteFunc(y.snapshots, func(s *created) bool { return slices.Contains(dropped, s.name) })
}

func (y *year) happens(what string) { y.happened[what] = y.since }

// check holds what must be true at any time.
func (y *year) check() {
	y.t.Helper()
	if s := y.creating(); s != nil && s.readyAt > 0 && y.writer != nil && y.since < s.readyAt {
		y.t.Fatalf("%s: %s writes while %s is cut", y.clock, y.writer.id, s.name)
	}
	r := y.policy.retention
	pinned, pending := 0, 0
	for _, s := range y.snapshots {
		if s.pinned {
			pinned++
		}
		if !s.verified && !s.stalled {
			pending++
		}
	}
	if most := 2*r.Last + r.Daily + r.Weekly + r.Monthly + pinned + pending + 1; len(y.snapshots) > most {
		y.t.Fatalf("%s: %d snapshots are kept, by %+v at most %d", y.clock, len(y.snapshots), r, most)
	}
	if pending > 30 {
		y.t.Fatalf("%s: %d snapshots wait for their verdict", y.clock, pending)
	}
	for _, what := range scheduled {
		// one run of each other action, a snapshot that expires, and a pause
		// after a failure may come before it
		late := y.policy.period[what] + 6*hour
		if from := max(y.happened[what], y.strange); y.since > from+late {
			y.t.Fatalf("%s: no %s for %s, although one is due every %s; the last said:\n%s", y.clock, what, y.since-from, y.policy.period[what], y.last())
		}
	}
	if y.passes > 400_000 {
		y.t.Fatalf("%s: %d passes: the planners have each other woken", y.clock, y.passes)
	}
}

// TestYear simulates a hundred years. A quarter of the first is recorded in a file.
func TestYear(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			y := newYear(t, seed)
			y.live()
			for _, what := range scheduled {
				if y.counts[what] == 0 {
					t.Errorf("no %s in a year", what)
				}
			}
			if seed == 0 {
				golden(t, y.log.String())
			}
		})
	}
}

func golden(t *testing.T, got string) {
	t.Helper()
	file := filepath.Join("testdata", "year.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff.Diff(string(want), got); d != "" {
		t.Errorf("the golden year differs; look at it, and write it with -update (-want +got):\n%s", d)
	}
}
