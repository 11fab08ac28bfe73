package router

import (
	"bytes"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/utils/lru"

	"gocache.dev/operator/internal/domain/goproxy"
)

// maxLines bounds what is remembered: some 16 MiB.
const maxLines = 1 << 16

// learned records the lines of go.sum from answers to clients' lookups in a
// checksum database. It makes no lookups of its own: these would reveal the
// names of private modules to a public database. The lines are not verified, so
// they may be wrong.
type learned struct {
	sums *lru.Cache // module.Version → its h1
	// disputes are what instances gave in place of that last.
	disputes *lru.Cache // module.Version → dispute
}

// dispute is what one instance gave.
type dispute struct{ instance, found string }

func newLearned() *learned { return &learned{sums: lru.New(maxLines), disputes: lru.New(1 << 10)} }

// learn records the lines in the answer to a lookup of a version.
func (l *learned) learn(of module.Version, answer []byte) {
	_, record, _, err := tlog.ParseRecord(answer)
	if err != nil || of.Path == "" {
		return // the go command reports the error
	}
	for line := range bytes.Lines(record) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 || fields[0] != of.Path || strings.TrimSuffix(fields[1], "/go.mod") != of.Version || !strings.HasPrefix(fields[2], "h1:") {
			continue
		}
		l.sums.Add(module.Version{Path: fields[0], Version: fields[1]}, fields[2])
	}
}

func (l *learned) has(line module.Version) bool {
	_, ok := l.sums.Get(line)
	return ok
}

func (l *learned) forget(line module.Version) {
	l.sums.Remove(line)
	l.disputes.Remove(line)
}

// refuse returns what is remembered, if it is not what was found, and whether
// that is to be refused. When another instance has given the same before, it
// is the memory that is wrong, or no attempt will bring anything better: then
// the line is forgotten.
func (l *learned) refuse(line module.Version, found, instance string) (expected string, refused bool) {
	known, ok := l.sums.Get(line)
	if !ok || known == found {
		return "", false
	}
	expected, _ = known.(string)
	if before, ok := l.disputes.Get(line); ok {
		if d, _ := before.(dispute); d.found == found && d.instance != instance {
			l.forget(line)
			return expected, false
		}
	}
	l.disputes.Add(line, dispute{instance: instance, found: found})
	return expected, true
}

// sumMod is the h1 of a go.mod file.
func sumMod(content []byte) string {
	sum, err := goproxy.SumMod(content)
	if err != nil {
		return err.Error()
	}
	return sum
}
