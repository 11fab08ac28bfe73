package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// age dates entries of the build cache that were written between two times back
// to a January long ago.
const age = `
set -eu
export TZ=UTC
touch -t "$AFTER" /tmp/after
touch -t "$BEFORE" /tmp/before
find "$GOCACHE" -type f -name '*-[ad]' -newer /tmp/after ! -newer /tmp/before > /tmp/unused
while read -r f; do touch -t 203501010000 "$f"; done < /tmp/unused
wc -l < /tmp/unused
`

// Age lets entries of the build cache that warm-ups wrote between two times look as
// if they had not been used for long, and returns their number. The go command does
// not renew the time of an entry that was used within the last hour, so times alone
// do not show what the last warm-up needs.
func (s *Scenario) Age(ctx context.Context, after, before time.Time) (int, error) {
	// A writer keeps the times moved ten years of 365 days ahead.
	ahead := func(t time.Time) string { return t.UTC().Add(10 * 365 * 24 * time.Hour).Format("200601021504.05") }
	return s.count(ctx, task{
		name: "age", script: age, claim: Cache, env: Cache + "-env-offline", vars: map[string]string{"AFTER": ahead(after), "BEFORE": ahead(before)},
	})
}

// compiled counts what a build compiles.
const compiled = `
set -eu
go build -x golang.org/x/text/transform > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
grep -c '/compile ' /tmp/log || true
`

// CompiledOn counts what a build of the small cache's packages compiles on a
// PVC, offline.
func (s *Scenario) CompiledOn(ctx context.Context, claim string) (int, error) {
	const name = "compiled"
	n, err := s.count(ctx, task{name: name, script: compiled, claim: claim, env: Cache + "-env-offline"})
	if err != nil {
		return 0, err
	}
	return n, s.remove(ctx, name)
}

// count runs a task whose last word is a number.
func (s *Scenario) count(ctx context.Context, t task) (int, error) {
	if err := s.start(ctx, t); err != nil {
		return 0, err
	}
	out, err := s.finish(ctx, t.name, 5*time.Minute)
	if err != nil {
		return 0, err
	}
	words := strings.Fields(out)
	if len(words) == 0 {
		return 0, fmt.Errorf("job %s printed nothing", t.name)
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return 0, fmt.Errorf("job %s: %w:\n%s", t.name, err, out)
	}
	return n, nil
}
