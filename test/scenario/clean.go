package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// litter builds with flags that no test uses, and dates the result back to a
// January long ago. The files that a warm-up keeps have times far ahead, and stay
// as they are; the rest was built just now. A find that compares full seconds
// would not find it by comparison with a file: the build may take less.
const litter = `
set -eu
touch -t 203301010000 /tmp/ahead
go build -gcflags=-l errors unicode/utf8 golang.org/x/text/transform
find "$GOCACHE" -type f -name '*-[ad]' ! -newer /tmp/ahead > /tmp/litter
while read -r f; do touch -t 202501010000 "$f"; done < /tmp/litter
wc -l < /tmp/litter
`

// Litter leaves entries in the build cache of the cache PVC that have not been
// used for long, and returns their number.
func (s *Scenario) Litter(ctx context.Context) (int, error) {
	return s.count(ctx, task{name: "litter", script: litter, claim: Cache, env: Cache + "-env-offline"})
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
