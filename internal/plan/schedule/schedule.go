package schedule

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/robfig/cron/v3"

	"gocache.dev/operator/api/v1alpha1"
)

// Plan is a schedule that was understood.
type Plan struct {
	cron     cron.Schedule
	location *time.Location // nil: a fixed pause, which depends on no zone
	offset   time.Duration
	deadline time.Duration // 0: none
}

// Parse understands a schedule; seed fixes the offset within the jitter. A nil
// Plan means that nothing is scheduled. The error names the field that is
// wrong and is meant for a person.
func Parse(s v1alpha1.Schedule, seed string) (*Plan, error) {
	if s.Schedule == "" {
		return nil, nil
	}
	location := time.UTC
	if s.TimeZone != "" {
		var err error
		if location, err = time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "Local" {
			return nil, fmt.Errorf("timeZone %q is not an IANA time zone such as Europe/Berlin", s.TimeZone)
		}
	}
	parsed, err := cron.ParseStandard(s.Schedule)
	if err != nil {
		return nil, fmt.Errorf("schedule %q is no cron expression: %w", s.Schedule, err)
	}
	plan := &Plan{cron: parsed}
	switch p := parsed.(type) {
	case *cron.SpecSchedule:
		if plan.location = p.Location; p.Location == time.Local { // no TZ= of its own
			plan.location = location
		}
		p.Location = time.UTC
	case cron.ConstantDelaySchedule:
	}
	if s.Jitter != nil && s.Jitter.Duration > 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(seed))                                       // never fails
		plan.offset = time.Duration(h.Sum64() % uint64(s.Jitter.Duration)) //nolint:gosec // positive, checked above
	}
	if s.StartingDeadline != nil {
		plan.deadline = s.StartingDeadline.Duration
	}
	return plan, nil
}

// Due reports whether a start is due at now, when the last one (or, before the
// first, the object's creation) was at last. The time is that of the start that
// is due, of several missed ones the latest, and is the same until the next one
// comes; or it is when to look again if none is due.
func (p *Plan) Due(last, now time.Time) (due bool, start time.Time) {
	if p == nil {
		return false, time.Time{}
	}
	// The start times are those of the cron expression, moved by the offset.
	first := p.after(last)
	if first.IsZero() || first.After(now) {
		return false, first
	}
	latest := p.latest(first, now)
	if p.deadline > 0 && now.Sub(latest) > p.deadline { // missed for good
		return false, p.after(latest)
	}
	return true, latest
}

// latest is the last start from first on that is not after now.
func (p *Plan) latest(first, now time.Time) time.Time {
	if every, ok := p.cron.(cron.ConstantDelaySchedule); ok {
		return first.Add(now.Sub(first) / every.Delay * every.Delay)
	}
	// Look back by growing steps, not over all that was missed in a year.
	for back := time.Minute; now.Sub(first) > back; back *= 2 {
		if start := p.after(now.Add(-back)); !start.IsZero() && !start.After(now) {
			first = start
			break
		}
	}
	for next := p.after(first); !next.IsZero() && !next.After(now); next = p.after(first) {
		first = next
	}
	return first
}

// after is the first start later than t.
func (p *Plan) after(t time.Time) time.Time {
	next := p.next(t.Add(-p.offset))
	if next.IsZero() { // an expression that never matches
		return next
	}
	return next.Add(p.offset)
}

// next is the first time later than t that the expression matches. It is
// looked for on a clock that is never put forward or back, and then read as a
// time of the zone: so a start that falls into an hour which is left out comes
// an hour later, one in an hour that comes twice comes once, and none is lost
// where zones change by half an hour, as the library does.
func (p *Plan) next(t time.Time) time.Time {
	if p.location == nil {
		return p.cron.Next(t)
	}
	wall := read(t.In(p.location), time.UTC)
	for range 24 * 60 { // an hour that comes twice has no more starts
		if wall = p.cron.Next(wall); wall.IsZero() {
			return wall
		}
		if next := read(wall, p.location); next.After(t) {
			return next
		}
	}
	return time.Time{}
}

// read is what a clock shows at t, read in another zone.
func read(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}
