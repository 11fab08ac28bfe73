package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// age dates entries of the build cache that were written after a time, and before
// the last warm-up began, back to a January long ago. A writer keeps the times
// moved ten years ahead. The go command does not renew the time of an entry that
// was used within the last hour, so times alone do not show what a build needs.
const age = `
set -eu
export TZ=UTC
began=$(sed -n 's/^warm-up \([^ ]*\) .*/\1/p' "$GOCACHE/../.gocache/usage" | tr -dc 0-9)
year=${began%??????????}
rest=${began#????}
touch -t "$((year + 10))${rest%??}.${rest#????????}" /tmp/began
touch -t "$SINCE" /tmp/since
find "$GOCACHE" -type f -name '*-[ad]' -newer /tmp/since ! -newer /tmp/began > /tmp/unused
while read -r f; do touch -t 203501010000 "$f"; done < /tmp/unused
wc -l < /tmp/unused
`

// Age lets entries of the build cache look as if they had not been used for long:
// those that warm-ups wrote since a time, except the last warm-up. It returns
// their number.
func (s *Scenario) Age(ctx context.Context, since time.Time) (int, error) {
	ahead := since.UTC().AddDate(10, 0, 0).Format("200601021504.05")
	return s.count(ctx, task{name: "age", script: age, claim: Cache, env: Cache + "-env-offline", vars: map[string]string{"SINCE": ahead}})
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
	return s.count(ctx, task{name: "compiled", script: compiled, claim: claim, env: Cache + "-env-offline"})
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
