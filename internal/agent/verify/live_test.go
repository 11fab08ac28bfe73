package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
// sets in the campaign.
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
	l.repeat(kill, func(i int) (*exec.Cmd, error) { return l.tree.Command(args(i)...) })
}

func (l *life) repeat(kill time.Duration, command func(i int) (*exec.Cmd, error)) {
	l.group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			default:
			}
			cmd, err := command(i)
			if err != nil {
				l.t.Error(err)
				return
			}
			if kill == 0 {
				l.runs.Add(1)
				if out, err := cmd.CombinedOutput(); err != nil {
					l.failed.Add(1)
					l.lastLog.Store(fmt.Sprintf("%v: %v\n%s", cmd.Args, err, out))
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

const trimVar = "GOCACHE_TEST_TRIM"

// TestMain is the agent's trim in a process of its own, if the environment asks for it: one
// that can be killed.
func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(trimVar)
	if !ok {
		os.Exit(m.Run())
	}
	// Of what builds use at this moment nearly everything goes: a trim a day
	// from now, which hardly waits.
	tomorrow := func() time.Time { return time.Now().Add(24 * time.Hour) }
	_, err := trim.Run(context.Background(), trim.Options{BuildCache: dir, MaxSize: 1 << 20, MinAge: buildcache.MinAge, Grace: 20 * time.Millisecond, Clock: tomorrow})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// trimming is a trim of the tree's build cache in a process of its own.
func trimming(tree *cachetree.Tree) func(int) (*exec.Cmd, error) {
	return func(int) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self) //nolint:gosec // this test itself
		cmd.Env = append(os.Environ(), trimVar+"="+tree.BuildCache)
		return cmd, nil
	}
}

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

// Beside builds, downloads, go clean -cache, trims and kills at random, a check
// never reports a fault; and a copy that was made meanwhile is intact too.
func TestNoFalseAlarm(t *testing.T) {
	n := rounds(t, 15)
	tree := cachetree.New(t)
	l := start(t, tree)
	l.loop(0, variant)
	l.loop(300*time.Millisecond, variant)
	l.loop(200*time.Millisecond, download)
	l.loop(time.Second, func(int) []string { return []string{"clean", "-cache"} })
	l.repeat(0, trimming(tree))
	l.repeat(60*time.Millisecond, trimming(tree))
	defer func() {
		l.end()
		t.Logf("%d builds and trims beside, %d of them failed beside go clean", l.runs.Load(), l.failed.Load())
	}()
	recoverable := 0
	for i := range n {
		v := check(t, tree)
		recoverable += v.Recoverable
		if v.Verdict != integrity.Intact {
			t.Fatalf("round %d: %s: %+v", i, v.Verdict, v.Examples)
		}
		if i%3 == 0 {
			aCopy(t, tree)
		}
	}
	t.Logf("%d checks, %d torn findings", n, recoverable)
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
// anything wrong in it, and the next download completes the truncated files.
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

// Trims by size and by age beside builds: no build fails, and each bound is
// reached.
func TestTrimBesideBuilds(t *testing.T) {
	expected := int64(rounds(t, 6))
	tree := cachetree.New(t)
	for _, f := range cachetree.BuildFaults() {
		if f.Name == "all entries old" {
			f.Inflict(t, tree)
		}
	}
	if out, err := tree.Go("build", "-o", os.DevNull, "."); err != nil { // marks what builds use
		t.Fatalf("%v\n%s", err, out)
	}
	l := start(t, tree)
	l.loop(0, variant)
	l.loop(0, func(i int) []string { return []string{other(expected), "-tags=t" + strconv.Itoa(i), "."} })
	trims, removed := 0, 0
	for ; l.runs.Load() < expected || trims < 2; trims++ {
		litter(t, tree, 20)
		o := trim.Options{BuildCache: tree.BuildCache, MinAge: buildcache.MinAge, Grace: 300 * time.Millisecond, Clock: time.Now}
		if trims%2 == 0 {
			o.MaxAge = 24 * time.Hour
		} else {
			_, used := sizes(t, tree, time.Now().Add(-buildcache.MinAge))
			o.MaxSize = used + 10*litterSize // what builds use, and half of the litter
		}
		r, err := trim.Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		removed += r.Build.Removed
		bounded(t, tree, o, r)
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

// other is a go command besides go build: in the campaign go vet, which at first
// takes as long as all else together.
func other(expected int64) string {
	if expected < 100 {
		return "list"
	}
	return "vet"
}

// bounded checks what a trim left of what was not used or written since its plan.
func bounded(t *testing.T, tree *cachetree.Tree, o trim.Options, r trim.Result) {
	t.Helper()
	unused, _ := sizes(t, tree, r.AsOf.Add(-o.MinAge))
	settled, _ := sizes(t, tree, r.AsOf)
	switch {
	case r.Build.Entries < 5 || r.Build.Removed < 10:
		t.Errorf("20 old entries were added, and it removed %+v", r.Build)
	case r.Build.Spared > 0: // used since the plan, so it may be over the bound
	case o.MaxAge > 0 && unused >= litterSize: // less is what an entry of today found made already, which marks only the entry
		t.Errorf("%d bytes that nobody has used for %s are left: %+v", unused, o.MaxAge, r.Build)
	case o.MaxSize > 0 && (r.Build.BeforeBytes <= o.MaxSize || settled > o.MaxSize):
		t.Errorf("%d bytes are left of %d, more than %d: %+v", settled, r.Build.BeforeBytes, o.MaxSize, r.Build)
	}
}

// sizes adds up the outputs last used until a time and those used later.
func sizes(t *testing.T, tree *cachetree.Tree, until time.Time) (before, after int64) {
	t.Helper()
	err := filepath.WalkDir(tree.BuildCache, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if entry := name; d.Type().IsRegular() {
			if filepath.Base(filepath.Dir(name)) != filepath.Base(name)[:min(2, len(filepath.Base(name)))] {
				entry = filepath.Dir(name) // an executable: its directory has the time
			}
			if !strings.HasSuffix(entry, "-d") {
				return nil
			}
			of, err := os.Stat(entry)
			switch {
			case err != nil:
				return ignoreGone(err)
			case of.ModTime().After(until):
				after += info.Size()
			default:
				before += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return before, after
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// litterSize is the size of one output of litter in bytes.
const litterSize = 100_000

// litter adds entries that have not been used for long.
func litter(t *testing.T, tree *cachetree.Tree, n int) {
	t.Helper()
	then := time.Now().Add(-10 * 24 * time.Hour)
	for range n {
		data := make([]byte, litterSize)
		for i := 0; i < len(data); i += 8 {
			binary.LittleEndian.PutUint64(data[i:], rand.Uint64()) //nolint:gosec // litter
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
