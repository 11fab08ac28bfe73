package campaign_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

var (
	rounds = flag.Int("rounds", 0, "rounds of each direction; 0: the campaign is skipped")
	seed   = flag.Uint64("seed", 1, "seed of the campaign")
	limit  = flag.Duration("for", 0, "end after this time, whatever was done; 0: no limit")
	state  = flag.String("state", "", "file that keeps what was done, so that the campaign can be resumed; empty: none")
	others = flag.String("others", "", "go commands of other releases, apart by commas, that take turns on the same caches")
)

// An episode is this many commands, and as many changes of what they left.
const episode = 40

// tally is what was done so far.
type tally struct {
	Seed     uint64 `json:"seed"`
	Episodes uint64 `json:"episodes"`
	// Commands of the go command that were followed by a check; some of them were
	// killed, met a failing proxy, or a full file system.
	Commands    int `json:"commands"`
	Failed      int `json:"failed"`
	Killed      int `json:"killed"`
	FailingNet  int `json:"failingProxy"`
	FullDisk    int `json:"fullFileSystem"`
	Recoverable int `json:"recoverable"`
	// HalfCleaned: an interrupted clean left a module in part, and it was Corrupt.
	HalfCleaned int            `json:"halfCleaned"`
	ByCommand   map[string]int `json:"byCommand"`
	Changes     map[string]int `json:"changes"`
	False       []string       `json:"falseAlarms"`
	Missed      []string       `json:"missed"`
}

func (c *tally) changes() (n int) {
	for _, k := range c.Changes {
		n += k
	}
	return n
}

func (c *tally) load(t *testing.T) {
	t.Helper()
	*c = tally{Seed: *seed, ByCommand: map[string]int{}, Changes: map[string]int{}}
	if *state == "" {
		return
	}
	data, err := os.ReadFile(*state)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(data, c)
	}
	if err != nil || c.Seed != *seed {
		t.Fatalf("%s is no state of seed %d: %v; remove it to begin again", *state, *seed, err)
	}
}

func (c *tally) store(t *testing.T) {
	t.Helper()
	if *state == "" {
		return
	}
	data, err := json.MarshalIndent(c, "", "\t")
	if err == nil {
		err = os.WriteFile(*state+".new", append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(*state+".new", *state)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing that the go command leaves is reported as Corrupt, and nothing that changes a build
// is missed.
func TestCampaign(t *testing.T) {
	if *rounds == 0 {
		t.Skip("run by make go-campaign")
	}
	var done tally
	done.load(t)
	end := time.Now().Add(*limit)
	for (done.Commands < *rounds || done.changes() < *rounds) && (*limit == 0 || time.Now().Before(end)) {
		number := done.Episodes
		t.Run("episode", func(t *testing.T) {
			p := play{T: t, tree: cachetree.NewWithStd(t), rng: rand.New(rand.NewPCG(*seed, number)), number: number, done: &done} //nolint:gosec // repeatable
			p.run()
		})
		done.Episodes++
		done.store(t)
	}
	data, err := json.MarshalIndent(done, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commands, %d changes:\n%s", done.Commands, done.changes(), data)
	if len(done.False)+len(done.Missed) > 0 {
		t.Errorf("%d false alarms, %d misses", len(done.False), len(done.Missed))
	}
}

// play is one episode.
type play struct {
	*testing.T
	tree   *cachetree.Tree
	rng    *rand.Rand
	number uint64
	done   *tally
	proxy  *proxy
}

func (p *play) run() {
	p.prepare()
	for range episode {
		p.command()
	}
	for range episode {
		p.change()
	}
}

// must ends the episode on an error of the campaign itself.
func (p *play) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// check checks the caches, or the one that is named alone.
func (p *play) check(cache integrity.Cache) integrity.Verdict {
	p.Helper()
	o := integrity.Options{ModCache: p.tree.ModCache, BuildCache: p.tree.BuildCache, Trust: p.trust(), Now: time.Now(), Settle: 2 * time.Millisecond}
	switch cache {
	case integrity.Modules:
		o.BuildCache = ""
	case integrity.Build:
		o.ModCache = ""
	case integrity.Store, integrity.Volume:
	}
	for _, dir := range []string{p.tree.ModCache, p.tree.BuildCache} { // the go command makes them when it needs them
		p.must(os.MkdirAll(dir, 0o700))
	}
	v, err := integrity.Check(p.Context(), o)
	p.must(err)
	return v
}

// trust is what the main module's go.sum file requires, if it is complete.
func (p *play) trust() *integrity.Trust {
	trust := integrity.NewTrust()
	data, err := os.ReadFile(p.tree.GoSum())
	if err != nil || trust.AddGoSum("go.sum", strings.NewReader(string(data))) != nil {
		return nil // a killed go command may leave half a line
	}
	return trust
}

// worst describes the worst finding.
func worst(v integrity.Verdict) string {
	if len(v.Examples) == 0 {
		return v.Message
	}
	e := v.Examples[0]
	return string(e.Class) + " (" + e.Severity + ") " + filepath.ToSlash(e.Path) + ": " + e.Detail
}
