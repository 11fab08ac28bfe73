package campaign_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

const (
	// slow bounds a command; one that takes longer is killed, as some are anyway.
	slow = 3 * time.Minute
	// spare is the room that is left on the file system that becomes full.
	spare = 256 << 10
)

// prepare adds the campaign's modules, and a test and a fuzz target of the main
// module.
func (p *play) prepare() {
	p.must(publish(p.tree.Proxy))
	p.proxy = serve(p.tree.Proxy, rand.New(rand.NewPCG(*seed, p.number+1<<32))) //nolint:gosec // repeatable
	p.Cleanup(p.proxy.Close)
	for name, text := range map[string]string{
		"main_test.go": "package main\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {}\n\nfunc FuzzIt(f *testing.F) {\n\tf.Add([]byte(\"a\"))\n\tf.Fuzz(func(t *testing.T, b []byte) {})\n}\n",
		"x/x.go":       "// Package x is built alone.\npackage x\n\n// N is a number.\nconst N = 1\n",
		"x/x_tag.go":   "//go:build extra\n\npackage x\n\n// M is another.\nconst M = 2\n",
	} {
		name = filepath.Join(p.tree.Main, filepath.FromSlash(name))
		p.must(os.MkdirAll(filepath.Dir(name), 0o700))
		p.must(os.WriteFile(name, []byte(text), 0o600))
	}
}

// queries are what is asked for, some of which there is not.
var queries = []string{
	"example.com/a@v1.0.0", "example.com/a@v1.1.0", "example.com/a@latest", "example.com/a@v1", "example.com/a@<v1.2.0", "example.com/a@v1.2.0-rc.1",
	"example.com/a/v2@v2.0.0", "example.com/a@none", "example.com/B/b@v0.1.0", "example.com/B/b@latest", "example.com/B/b@none",
	"example.com/c@v0.0.0-20240102030405-0123456789ab", "example.com/crlf@v1.0.0", "example.com/nomod@v2.0.0+incompatible", "example.com/nomod@v2.0.0",
	"example.com/dirs@v1.0.0", "example.com/dirs@latest", "example.com/missing@v1.0.0", "example.com/lib@v1.2.0", "example.com/Upper/dep@v1.1.0",
}

// imports are packages that a file of the main module imports.
var imports = []string{"example.com/a", "example.com/a/v2", "example.com/B/b", "example.com/crlf", "example.com/nomod", "example.com/dirs", "example.com/c"}

type command struct {
	args []string
	env  []string
}

func words(text string) command { return command{args: strings.Fields(text)} }

// commands that need nothing else.
var plain = []string{
	"mod download", "mod download -json all", "mod tidy", "mod tidy -e", "mod verify", "mod vendor", "mod graph", "mod why -m all",
	"build ./...", "build -o /dev/null .", "build -tags extra ./...", "build -cover ./x", "build -gcflags=-l ./x", "build -ldflags=-s -o /dev/null .",
	"vet ./...", "test .", "test ./...", "test -count=1 .", "test -cover .", "test -run XXX -c -o /dev/null .", "test -fuzz=FuzzIt -fuzztime=3x -parallel=1 .",
	"test -json -v .", "clean -testcache", "clean -fuzzcache", "clean ./...", "clean -modcache", "list -m all", "list -m -u all", "list -m -versions example.com/a",
	"list -m -json -retracted example.com/a@v1.1.0", "list -deps -test ./...", "list -export -f {{.Export}} ./x", "list -m example.com/B/b@latest", "run .",
	"run example.com/tool@v1.0.0", "run example.com/tool@latest", "install example.com/tool@v1.0.0", "get -u ./...", "get -t -u=patch ./...",
	"get -tool example.com/tool@v1.0.0", "tool tool", "env", "version -m .", "generate ./...", "work init .", "work use ./x", "work sync", "fmt ./...",
}

// next is a random command.
func (p *play) next() command {
	var c command
	switch n := p.rng.IntN(100); {
	case n < 20:
		c = words("get " + queries[p.rng.IntN(len(queries))])
	case n < 30:
		c = words("mod download " + queries[p.rng.IntN(len(queries))])
	case n < 36:
		p.importSome()
		c = words("mod tidy")
	case n < 42:
		c = words("build -o /dev/null ./...")
	case n < 45:
		c = words("list -deps .")
		c.env = append(c.env, "GOFIPS140="+[]string{"v1.0.0", "latest", "certified", "v9.9.9"}[p.rng.IntN(4)])
	case n < 46 && p.rng.IntN(4) == 0:
		c = words("clean -cache")
	default:
		c = words(plain[p.rng.IntN(len(plain))])
		// Fuzzing compiles much of the standard library again.
		if strings.Contains(strings.Join(c.args, " "), "-fuzz=") && p.rng.IntN(4) > 0 {
			c = words("test -cover ./x")
		}
	}
	if strings.HasPrefix(c.args[0], "work") {
		c.env = append(c.env, "GOWORK=")
	}
	switch p.rng.IntN(8) {
	case 0:
		c.env = append(c.env, "GOFLAGS=-trimpath -mod=mod")
	case 1:
		c.env = append(c.env, "GOFLAGS=-trimpath -modcacherw")
	case 2:
		c.env = append(c.env, "GOPROXY=off")
	case 3:
		c.env = append(c.env, "GOTOOLCHAIN=go1.99.1")
	}
	return c
}

// importSome writes a file that imports some of the modules.
func (p *play) importSome() {
	text := "package x\n"
	for _, path := range imports {
		if p.rng.IntN(3) == 0 {
			text += fmt.Sprintf("\nimport _ %q\n", path)
		}
	}
	p.must(os.WriteFile(filepath.Join(p.tree.Main, "x", "imports.go"), []byte(text), 0o600))
}

// command runs one command and requires that what it left is intact or
// recoverable.
func (p *play) command() {
	c := p.next()
	cmd := p.start(c)
	kill, failing, full := p.rng.IntN(4) == 0, p.rng.IntN(4) == 0, p.rng.IntN(12) == 0
	after := time.Duration(p.rng.IntN(600)) * time.Millisecond
	if !kill {
		after = slow
	}
	p.proxy.failing.Store(failing)
	restore := func() {}
	if full {
		restore, full = p.small()
	}
	failed := p.wait(cmd, after)
	how := ""
	count := func(is bool, n *int, what string) {
		if is {
			*n++
			how += what
		}
	}
	count(kill, &p.done.Killed, ", killed after "+after.String())
	count(failing, &p.done.FailingNet, ", proxy failing")
	count(full, &p.done.FullDisk, ", file system full")
	count(failed, &p.done.Failed, ", failed")
	p.done.Commands++
	p.done.ByCommand[c.args[0]]++
	restore()
	v := p.check("")
	if v.Recoverable > 0 {
		p.done.Recoverable++
	}
	if failed && strings.Join(c.args, " ") == goClean {
		p.interrupted(v)
		return
	}
	if v.Verdict != integrity.Intact {
		what := fmt.Sprintf("seed %d, episode %d: go %s %v%s: %s: %s", *seed, p.number, strings.Join(c.args, " "), c.env, how, v.Verdict, worst(v))
		p.done.False = append(p.done.False, what)
		p.Error(what)
		p.reset()
	}
}

// start prepares a command of one of the releases.
func (p *play) start(c command) *exec.Cmd {
	cmd, err := p.tree.Command(c.args...)
	p.must(err)
	if list := strings.Split(*others, ","); *others != "" && p.rng.IntN(10) == 0 {
		cmd.Path = list[p.rng.IntN(len(list))]
	}
	cmd.Env = append(cmd.Env, "GOPROXY="+p.proxy.URL, "GOBIN="+filepath.Join(p.tree.Root, "bin"), "GONOSUMDB=*", "GOVCS=*:off")
	cmd.Env = append(cmd.Env, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// wait runs a command and kills it, with the processes that it started, after a
// time.
func (p *play) wait(cmd *exec.Cmd, after time.Duration) (failed bool) {
	p.must(cmd.Start())
	timer := time.AfterFunc(after, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	timer.Stop()
	return err != nil
}

// small moves both caches to a file system with hardly any room left, if this
// process may mount one, until restore is called.
func (p *play) small() (restore func(), ok bool) {
	disk := filepath.Join(p.tree.Root, "small")
	p.must(os.MkdirAll(disk, 0o700))
	if err := mount(disk, size(p.tree.ModCache)+size(p.tree.BuildCache)+spare); err != nil {
		return func() {}, false
	}
	names := map[string]string{"mod": p.tree.ModCache, "build": p.tree.BuildCache}
	var last error
	for name := range names {
		if err := cachetree.Copy(names[name], filepath.Join(disk, name)); err != nil {
			last = err
		}
	}
	if last != nil { // the estimate of the room was too low
		p.must(syscall.Unmount(disk, syscall.MNT_DETACH))
		return func() {}, false
	}
	for name, dir := range names {
		cachetree.RemoveAll(p.T, dir)
		p.must(os.Symlink(filepath.Join(disk, name), dir))
	}
	return func() {
		for name, dir := range names {
			p.must(os.Remove(dir))
			p.must(cachetree.Copy(filepath.Join(disk, name), dir))
		}
		p.must(syscall.Unmount(disk, syscall.MNT_DETACH))
	}, true
}

// reset gives the episode a good tree again.
func (p *play) reset() {
	fresh := cachetree.NewWithStd(p.T)
	p.tree.ModCache, p.tree.BuildCache = fresh.ModCache, fresh.BuildCache
}
