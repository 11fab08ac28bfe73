package verify_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// rounds is how often something is tried: seldom always, and as GOCACHE_CAMPAIGN
// says in the campaign.
func rounds(t *testing.T, always int) int {
	t.Helper()
	text := os.Getenv("GOCACHE_CAMPAIGN")
	if text == "" {
		return always
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("GOCACHE_CAMPAIGN: %v", err)
	}
	return n
}

// life keeps go commands running on a tree until stopped.
type life struct {
	t       *testing.T
	tree    *cachetree.Tree
	stop    chan struct{}
	group   sync.WaitGroup
	runs    atomic.Int64
	failed  atomic.Int64
	lastLog atomic.Value
}

func start(t *testing.T, tree *cachetree.Tree) *life {
	t.Helper()
	return &life{t: t, tree: tree, stop: make(chan struct{})}
}

// loop repeats a go command; kill ends it at a random time, with signal 9.
func (l *life) loop(kill time.Duration, args func(i int) []string) {
	l.group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			default:
			}
			cmd, err := l.tree.Command(args(i)...)
			if err != nil {
				l.t.Error(err)
				return
			}
			if kill == 0 {
				l.runs.Add(1)
				if out, err := cmd.CombinedOutput(); err != nil {
					l.failed.Add(1)
					l.lastLog.Store(fmt.Sprintf("go %v: %v\n%s", args(i), err, out))
				}
				continue
			}
			if err := cmd.Start(); err != nil {
				l.t.Error(err)
				return
			}
			timer := time.AfterFunc(rand.N(kill), func() { _ = cmd.Process.Kill() }) //nolint:gosec // any time will do
			_ = cmd.Wait()
			timer.Stop()
		}
	})
}

func (l *life) end() { close(l.stop); l.group.Wait() }

// variant builds something new each time, so that the caches are written.
func variant(i int) []string {
	return []string{"build", "-o", os.DevNull, "-gcflags=example.com/...=-c=" + strconv.Itoa(1+i), "."}
}

func download(int) []string { return []string{"mod", "download"} }

func check(t *testing.T, tree *cachetree.Tree) integrity.Verdict {
	t.Helper()
	v, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now(), Settle: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Beside builds, downloads, go clean -cache and kills at random, a check never
// accuses; and neither is a copy that was taken meanwhile.
func TestNoFalseAlarm(t *testing.T) {
	n := rounds(t, 6)
	tree := cachetree.New(t)
	l := start(t, tree)
	l.loop(0, variant)
	l.loop(300*time.Millisecond, variant)
	l.loop(200*time.Millisecond, download)
	l.loop(time.Second, func(int) []string { return []string{"clean", "-cache"} })
	defer func() {
		l.end()
		t.Logf("%d builds beside, %d of them failed beside go clean", l.runs.Load(), l.failed.Load())
	}()
	torn := 0
	for i := range n {
		v := check(t, tree)
		torn += v.Torn
		if v.Verdict != integrity.Intact {
			t.Fatalf("round %d: %s: %+v", i, v.Verdict, v.Examples)
		}
		if i%3 == 0 {
			aCopy(t, tree)
		}
	}
	t.Logf("%d checks, %d torn findings", n, torn)
}

// aCopy takes a copy and checks it.
func aCopy(t *testing.T, tree *cachetree.Tree) {
	t.Helper()
	to, err := os.MkdirTemp("", "copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer cachetree.RemoveAll(t, to)
	r, err := restore.Run(context.Background(), restore.Options{From: tree.Root, To: filepath.Join(to, "x"), ModDir: "mod", BuildDir: "build", Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Verdict != integrity.Intact {
		t.Fatalf("a copy: %s: %+v", r.Verdict.Verdict, r.Verdict.Examples)
	}
}

// Downloads into an empty module cache, killed at random: at no time is there
// anything wrong in it, and the next download heals what is torn.
func TestNoFalseAlarmWhileDownloading(t *testing.T) {
	n := rounds(t, 4)
	tree := cachetree.New(t)
	for i := range n {
		cachetree.RemoveAll(t, tree.ModCache)
		if err := os.MkdirAll(tree.ModCache, 0o700); err != nil {
			t.Fatal(err)
		}
		l := start(t, tree)
		l.loop(60*time.Millisecond, download)
		l.loop(90*time.Millisecond, download)
		for range 5 {
			if v := check(t, tree); v.Verdict != integrity.Intact {
				l.end()
				t.Fatalf("round %d: %s: %+v", i, v.Verdict, v.Examples)
			}
		}
		l.end()
		if v := check(t, tree); v.Verdict != integrity.Intact {
			t.Fatalf("round %d, after a kill: %s: %+v", i, v.Verdict, v.Examples)
		}
		if out, err := tree.Go("mod", "download"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// Trims beside builds: no build fails, and the bound is reached.
func TestTrimBesideBuilds(t *testing.T) {
	wanted := int64(rounds(t, 6))
	tree := cachetree.New(t)
	for _, f := range cachetree.BuildFaults() {
		if f.Name == "all entries old" {
			f.Inflict(t, tree)
		}
	}
	l := start(t, tree)
	l.loop(0, variant)
	l.loop(0, func(i int) []string { return []string{"vet", "-tags=t" + strconv.Itoa(i), "."} })
	trims, removed := 0, 0
	for ; l.runs.Load() < wanted; trims++ {
		litter(t, tree, 20)
		r, err := trim.Run(context.Background(), trim.Options{
			BuildCache: tree.BuildCache, MaxAge: 24 * time.Hour, MinAge: 2 * time.Hour, Grace: 300 * time.Millisecond, Clock: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		removed += r.Build.Removed
		if r.Build.Removed < 40 {
			t.Errorf("removed %+v of 20 old entries and their outputs", r.Build)
		}
		if v := check(t, tree); v.Verdict != integrity.Intact {
			t.Fatalf("%s: %+v", v.Verdict, v.Examples)
		}
	}
	l.end()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d builds failed: %v", n, l.runs.Load(), l.lastLog.Load())
	}
	t.Logf("%d builds beside %d trims, which removed %d files", l.runs.Load(), trims, removed)
}

// litter adds entries that nobody has used for long.
func litter(t *testing.T, tree *cachetree.Tree, n int) {
	t.Helper()
	then := time.Now().Add(-10 * 24 * time.Hour)
	for range n {
		data := make([]byte, 1000)
		for i := range data {
			data[i] = byte(rand.Uint32()) //nolint:gosec // litter
		}
		e := buildcache.Entry{Action: sha256.Sum256(data[1:]), Output: sha256.Sum256(data), Size: int64(len(data)), Time: then}
		for path, content := range map[string][]byte{e.Output.OutputPath(): data, e.Action.ActionPath(): e.Format()} {
			name := filepath.Join(tree.BuildCache, path)
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, then, then); err != nil {
				t.Fatal(err)
			}
		}
	}
}
