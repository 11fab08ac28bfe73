package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocache.dev/operator/internal/testing/imagepool"
)

// The ways by which a job gets its caches, in the order of the table.
const (
	wayNothing  = "nothing"
	wayArchive  = "archive from an object store"
	wayHTTP0    = "GOCACHEPROG over HTTP"
	wayHTTP5    = "GOCACHEPROG over HTTP, 5 ms"
	wayHTTP50   = "GOCACHEPROG over HTTP, 50 ms"
	wayShared   = "shared directory"
	wayProg     = "gocache-agent prog over a shared snapshot"
	wayClone    = "clone of the snapshot"
	wayCopy     = "copy of the snapshot"
	wayPool     = "that copy from a pool"
	wayAgain    = "the same clone, the next push"
	wayLazyProg = "gocache-agent prog over a shared snapshot, loaded when it is first read"
	wayLazy     = "clone, loaded when it is first read"
	wayLazyPool = "clone from a pool, read before"
)

var order = []string{
	wayNothing, wayArchive, wayHTTP0, wayHTTP5, wayHTTP50, wayShared, wayProg, wayClone, wayAgain, wayCopy, wayPool,
	wayLazyProg, wayLazy, wayLazyPool,
}

// way is one of them.
type way struct {
	name string
	// before is done in advance, and not measured; nil: nothing is.
	before func(context.Context) error
	// lazy: a volume of it is loaded when it is first read.
	lazy bool
	// ready makes the caches usable and returns the environment of the job.
	ready func(context.Context) (env []string, err error)
	// again: another push is measured on the same caches, which are in memory then.
	again string
}

// Sizes of the sparse files.
const (
	poolBytes   = 64 << 30
	volumeBytes = 16 << 30
)

// bench is where everything is.
type bench struct {
	dir, source string
	keep        bool
	*imagepool.Pool
	agent, self string
	devcluster  string        // if a way is lazy
	latency     time.Duration // of a chunk that is loaded
	served      *lazyFile     // what the volume of the job is loaded by

	archives, entries objects
	proxied           traffic
	archiveURL        string
	entriesURL        string
	proxyURL          string
	stop              []func()

	report strings.Builder // what the preparation has measured
}

func (b *bench) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

// newBench makes the places and servers.
func newBench(ctx context.Context) (*bench, error) {
	for _, name := range []string{"mkfs.xfs", "tar", "git"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, err
		}
	}
	b := &bench{dir: os.Getenv("BENCH_DIR"), keep: os.Getenv("BENCH_DIR") != ""}
	var err error
	if b.latency, err = latencyOf(os.Getenv("BENCH_LAZY")); err != nil {
		return nil, fmt.Errorf("BENCH_LAZY: %w", err)
	}
	if !b.keep {
		if b.dir, err = os.MkdirTemp("", "rivals-"); err != nil {
			return nil, err
		}
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, err
	}
	b.source = b.path("source")
	b.Pool = &imagepool.Pool{Image: b.path("pool.img"), Bytes: poolBytes, Dir: b.path("pool"), Mount: b.path("gocache")}
	b.archives.dir, b.entries.dir = b.path("archives"), b.path("entries")
	for _, dir := range []string{b.archives.dir, b.entries.dir, b.path("home")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := b.Pool.Close(ctx); err != nil { // of an interrupted run
		return nil, err
	}
	if err := b.Open(ctx); err != nil {
		return nil, err
	}
	if err := b.serve(ctx); err != nil {
		b.close(ctx)
		return nil, err
	}
	return b, nil
}

// serve starts the servers and builds the programs.
func (b *bench) serve(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	downloads := filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
	var stop func()
	if b.archiveURL, stop, err = listen(&b.archives); err != nil {
		return err
	}
	b.stop = append(b.stop, stop)
	if b.entriesURL, stop, err = listen(&b.entries); err != nil {
		return err
	}
	b.stop = append(b.stop, stop)
	if b.proxyURL, stop, err = listen(modules(downloads, &b.proxied)); err != nil {
		return err
	}
	b.stop = append(b.stop, stop)
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.agent, err = b.program(ctx, ".", "./internal/cmd/gocache-agent")
	return err
}

// close ends and removes what was started, also when ctx has been cancelled.
func (b *bench) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for _, stop := range b.stop {
		stop()
	}
	err := errors.Join(b.release(ctx), b.Pool.Close(ctx))
	if err == nil && !b.keep {
		err = os.RemoveAll(b.dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
	}
}

// prepare warms the caches and puts them where each way looks for them. What an
// earlier run with the same BENCH_DIR has finished is kept.
func (b *bench) prepare(ctx context.Context) error {
	done := b.path("prepared")
	if report, err := os.ReadFile(done); err == nil {
		b.report.Write(report)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.checkOut(ctx); err != nil {
		return err
	}
	if err := b.warm(ctx); err != nil {
		return err
	}
	return os.WriteFile(done, []byte(b.report.String()), 0o600)
}

// checkOut copies the files of the last commit.
func (b *bench) checkOut(ctx context.Context) error {
	if err := os.RemoveAll(b.source); err != nil {
		return err
	}
	if err := os.MkdirAll(b.source, 0o700); err != nil {
		return err
	}
	archive := b.path("source.tar")
	if err := imagepool.Command(ctx, "git", "archive", "-o", archive, "HEAD"); err != nil {
		return err
	}
	if err := imagepool.Command(ctx, "tar", "-C", b.source, "-xf", archive); err != nil {
		return err
	}
	return b.push("before the first push")
}

// warm fills the snapshot's volume, has the agent check it, and copies it to the
// archive and to the shared directory.
func (b *bench) warm(ctx context.Context) error {
	image := b.In("snapshot.img")
	if err := imagepool.Format(ctx, image, volumeBytes); err != nil {
		return err
	}
	if err := b.Attach(ctx, image, "rw"); err != nil {
		return err
	}
	for _, args := range warmUp {
		began := time.Now()
		cmd := b.command(ctx, []string{"GOPROXY=" + b.proxyURL}, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %.2000s", cmd, err, out)
		}
		fmt.Fprintf(os.Stderr, "go %s: %.1f s\n", strings.Join(args, " "), time.Since(began).Seconds())
	}
	began := time.Now()
	if err := b.verify(ctx); err != nil {
		return err
	}
	fmt.Fprintf(&b.report, "verified in %.1f s: Intact\n", time.Since(began).Seconds())
	for _, cache := range []string{"mod", "build"} {
		files, bytes, err := size(filepath.Join(b.Mount, cache))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b.report, "%s: %d files, %s\n", cache, files, mebibytes(bytes))
	}
	began = time.Now()
	if err := save(ctx, b.archiveURL, b.Mount); err != nil {
		return err
	}
	fmt.Fprintf(&b.report, "archive saved in %.1f s, %s\n", time.Since(began).Seconds(), mebibytes(b.archives.traffic.sent.Load()))
	entries, bytes, err := fill(b.entries.dir, filepath.Join(b.Mount, "build"))
	if err != nil {
		return err
	}
	fmt.Fprintf(&b.report, "object store of GOCACHEPROG: %d entries, %s\n", entries, mebibytes(bytes))
	if err := os.RemoveAll(b.In("shared")); err != nil {
		return err
	}
	if err := imagepool.Command(ctx, "cp", "-a", b.Mount, b.In("shared")); err != nil {
		return err
	}
	return b.Detach(ctx)
}

// private mounts a new empty directory for the job.
func (b *bench) private(ctx context.Context) error { return b.Bind(ctx, b.In("private", "caches")) }

// verify has the agent check the caches that are mounted, which reads all of them.
func (b *bench) verify(ctx context.Context) error {
	return imagepool.Command(ctx, b.agent, "verify", "--modcache", filepath.Join(b.Mount, "mod"), "--buildcache", filepath.Join(b.Mount, "build"),
		"--gosum", filepath.Join(b.source, "go.sum"))
}

// pooled makes a copy of the snapshot and reads it, as the operator does for a pool.
func (b *bench) pooled(ctx context.Context) error {
	image := b.In("pooled.img")
	if err := os.RemoveAll(image); err != nil {
		return err
	}
	if err := b.Copy(ctx, b.In("snapshot.img"), image); err != nil {
		return err
	}
	if err := b.Attach(ctx, image, "rw"); err != nil {
		return err
	}
	return errors.Join(b.verify(ctx), b.Detach(ctx))
}

func (b *bench) remoteCache() []string {
	return []string{"GOPROXY=" + b.proxyURL, fmt.Sprintf("GOCACHEPROG=%s %s -url %s -dir %s", b.self, childCommand, b.entriesURL, b.In("private", "outputs"))}
}

// size counts the files below a directory and their bytes.
func size(dir string) (files int, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
		return err
	})
	return files, bytes, err
}

// ways are all ways to have caches.
func (b *bench) ways() []way {
	online := []string{"GOPROXY=" + b.proxyURL}
	overHTTP := func(latency time.Duration) func(context.Context) ([]string, error) {
		return func(ctx context.Context) ([]string, error) {
			b.entries.latency.Store(int64(latency))
			return b.remoteCache(), b.private(ctx)
		}
	}
	return slices.Concat([]way{
		{name: wayNothing, ready: func(ctx context.Context) ([]string, error) { return online, b.private(ctx) }},
		{name: wayArchive, ready: func(ctx context.Context) ([]string, error) {
			if err := b.private(ctx); err != nil {
				return nil, err
			}
			return nil, restore(ctx, b.archiveURL, b.Mount)
		}},
		{name: wayHTTP0, ready: overHTTP(0)},
		{name: wayHTTP5, ready: overHTTP(5 * time.Millisecond)},
		{name: wayHTTP50, ready: overHTTP(50 * time.Millisecond)},
		{name: wayShared, ready: func(ctx context.Context) ([]string, error) { return nil, b.Bind(ctx, b.In("shared")) }},
		{name: wayProg, ready: func(ctx context.Context) ([]string, error) {
			return b.prog(), b.Attach(ctx, b.In("snapshot.img"), "ro")
		}},
		{name: wayClone, again: wayAgain, ready: func(ctx context.Context) ([]string, error) {
			image := b.In("private", "clone.img")
			if err := b.Clone(ctx, b.In("snapshot.img"), image); err != nil {
				return nil, err
			}
			return nil, b.Attach(ctx, image, "rw")
		}},
	}, b.copies(), b.lazyWays())
}

// prog is the environment of a job with the agent above a snapshot.
func (b *bench) prog() []string {
	return []string{
		fmt.Sprintf("GOCACHEPROG=%s prog --lower %s --upper %s", b.agent, filepath.Join(b.Mount, "build"), b.In("private", "upper")),
		"GOCACHE=" + b.In("private", "unused"),
	}
}

// copies are the ways to have a copy of the snapshot that shares nothing with it.
func (b *bench) copies() []way {
	return []way{
		{name: wayCopy, ready: func(ctx context.Context) ([]string, error) {
			image := b.In("private", "copy.img")
			if err := b.Copy(ctx, b.In("snapshot.img"), image); err != nil {
				return nil, err
			}
			return nil, b.Attach(ctx, image, "rw")
		}},
		{name: wayPool, before: b.pooled, ready: func(ctx context.Context) ([]string, error) {
			return nil, b.Attach(ctx, b.In("pooled.img"), "rw")
		}},
	}
}

// measure runs the job once, cold, and once more if the way has another push.
func (b *bench) measure(ctx context.Context, round int, w way) ([]result, error) {
	if w.before != nil {
		if err := w.before(ctx); err != nil {
			return nil, err
		}
	}
	left, err := b.Cold(ctx)
	if err != nil {
		return nil, err
	}
	var all []result
	for _, name := range []string{w.name, w.again} {
		if name == "" {
			continue
		}
		ready := w.ready
		if name == w.again {
			ready = func(context.Context) ([]string, error) { return nil, nil }
		}
		r, err := b.once(ctx, round, name, ready)
		if err != nil {
			return nil, err
		}
		r.Left = left
		all = append(all, r)
	}
	return all, b.release(ctx)
}

func (b *bench) once(ctx context.Context, round int, name string, ready func(context.Context) ([]string, error)) (result, error) {
	r := result{Round: round, Way: name}
	if err := b.push(fmt.Sprintf("round %d, %s", round, name)); err != nil {
		return r, err
	}
	var err error
	if r.Load, err = loadAverage(); err != nil {
		return r, err
	}
	received, sent := b.moved()
	readBefore, err := b.Read()
	if err != nil {
		return r, err
	}
	began := time.Now()
	env, err := ready(ctx)
	if err != nil {
		return r, err
	}
	r.Ready = time.Since(began)
	if err := b.test(ctx, env, began, &r); err != nil {
		return r, err
	}
	readAfter, err := b.Read()
	receivedAfter, sentAfter := b.moved()
	r.Received, r.Sent, r.Read = receivedAfter-received, sentAfter-sent, readAfter-readBefore
	return r, err
}

// moved is what all servers have sent and received, as their clients see it.
func (b *bench) moved() (received, sent int64) {
	for _, t := range []*traffic{&b.archives.traffic, &b.entries.traffic, &b.proxied} {
		received, sent = received+t.received.Load(), sent+t.sent.Load()
	}
	return received, sent
}

func loadAverage() (float64, error) {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	return strconv.ParseFloat(first, 64)
}
