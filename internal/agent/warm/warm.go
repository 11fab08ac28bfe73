package warm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
)

// Options are the command's flags.
type Options struct {
	ModCache    string
	BuildCache  string
	Root        string // of the volume; default: the directory above the module cache
	Sources     []warmup.Source
	Go          string // the go command
	Instead     string // what go test runs in place of tests: a command that does nothing
	ExpectGo    string // the release that it must be, such as 1.26.8, or of the series, such as 1.26; empty: any
	Umask       int
	Sealed      string // digest of the manifest that the last writer reported; empty: unknown
	NeverSealed bool   // no writer has reported one: what the caches hold is removed first
	// ProxyCredentials is a directory with the files username and password for the
	// module proxy at ProxyURL; empty: it requires none.
	ProxyURL, ProxyCredentials string
	// Stop ends the work, so that there is time to record the result; nil: never.
	Stop           <-chan time.Time
	JSON           bool
	TerminationLog string

	Clock  func() time.Time
	Env    []string // of the process
	Stdout io.Writer
	Stderr io.Writer
}

// Run warms the caches. The report is always made; an error is one that could
// not be written.
func Run(ctx context.Context, o Options) (warmup.Report, error) {
	start := o.Clock()
	err := o.absolute()
	w := &warming{Options: o}
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-o.Stop:
			stop(errStopped)
		case <-work.Done():
		}
	}()
	if err == nil {
		err = w.all(ctx, work)
	}
	if err != nil && errors.Is(context.Cause(work), errStopped) {
		err = fmt.Errorf("%w: %w", errStopped, err)
	}
	if err != nil && w.written && ctx.Err() == nil {
		w.sealFailed(ctx)
	}
	if err != nil && !w.written {
		w.made.ManifestDigest = w.Sealed // nothing was added
		w.made.Message = strings.Join(w.notes, "; ")
	}
	r := w.made
	switch {
	case errors.Is(err, errSources) && r.Outcome == "":
		r.Outcome = warmup.Failed
	case err != nil && r.Outcome == "":
		r.Outcome, r.Message = warmup.Failed, strings.TrimSuffix(warmup.OneLine(err.Error())+"; "+r.Message, "; ")
	case r.Outcome == "":
		r.Outcome = warmup.Succeeded
	}
	if used, err := volume.Measure(o.Root); err == nil {
		r.UsedBytes, r.CapacityBytes, r.AvailableBytes = used.Used, used.Capacity, used.Available
		r.TreeBytes, r.Inodes, r.InodesUsed = used.Tree, used.Inodes, used.InodesUsed
	}
	r.DurationSeconds = o.Clock().Sub(start).Round(time.Millisecond).Seconds()
	return r, o.report(r)
}

var errStopped = errors.New("stopped before the deadline of the Job, to record what the caches hold; the next warm-up continues, and spec.warmUp.deadline can be raised")

// absolute completes the paths: the go command refuses relative ones, and runs
// elsewhere.
func (o *Options) absolute() (err error) {
	if o.Root == "" {
		o.Root = filepath.Dir(filepath.Clean(o.ModCache))
	}
	for _, p := range []*string{&o.ModCache, &o.BuildCache, &o.Root} {
		abs, absErr := filepath.Abs(*p)
		*p, err = abs, errors.Join(err, absErr)
	}
	return err
}

// warming is one run.
type warming struct {
	Options
	made  warmup.Report
	goCmd goCommand
	// goroot is that of the go command.
	goroot string
	notes  []string
	use    use
	// written: the go command may have changed the caches.
	written bool
	// corrupt is what the check of what was written found corrupt; empty: nothing.
	corrupt string
}

// all does the work until it is stopped, and seals it.
func (w *warming) all(ctx, work context.Context) (err error) {
	if err := w.fill(work); err != nil {
		return err
	}
	return w.seal(ctx)
}

func (w *warming) fill(ctx context.Context) (err error) {
	w.use = newUse(w.Clock())
	temp, err := w.private()
	if err != nil {
		return fmt.Errorf("making a private directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := w.prepare(ctx, temp); err != nil {
		return err
	}
	// Also after a failure: a check of the volume would find them.
	defer func() { err = errors.Join(err, volume.RemoveRepositories(w.ModCache)) }()
	if err := w.sources(ctx, temp); err != nil {
		return err
	}
	if len(w.Sources) == 0 && w.keepsBuilds() {
		if err := w.goCmd.build(ctx, nil, nil, []string{"std"}); err != nil {
			return err
		}
		w.use.add(record.Source{}, []string{"std"})
	}
	return nil
}

// private makes a directory of one name for each volume: results of packages in
// it are cached by their path, and each warm-up would add others.
func (w *warming) private() (string, error) {
	sum := sha256.Sum256([]byte(w.Root))
	dir := filepath.Join(os.TempDir(), "gocache-warm-"+hex.EncodeToString(sum[:8]))
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) { // another process has it, or was killed
		return os.MkdirTemp("", "gocache-warm-")
	}
	return dir, err
}

// prepare identifies the toolchain and makes the cache directories, in this
// order: a toolchain other than the requested one writes nothing.
func (w *warming) prepare(ctx context.Context, temp string) error {
	env := w.env(temp)
	if w.ProxyCredentials != "" {
		file, err := writeNetrc(temp, w.ProxyURL, w.ProxyCredentials)
		if err != nil {
			return err
		}
		env = append(env, "NETRC="+file)
	}
	w.goCmd = goCommand{path: w.Go, dir: temp, out: w.Stdout, env: env}
	toolchain, err := w.goCmd.identify(ctx)
	if err != nil {
		return err
	}
	if w.goroot, err = w.goCmd.output(ctx, "env", "GOROOT"); err != nil {
		return err
	}
	w.made.GoVersion, w.made.GoSHA256, w.made.CompileSHA256 = toolchain.GoVersion, toolchain.GoSHA256, toolchain.CompileSHA256
	w.made.GoFlags, w.made.CGOEnabled = toolchain.GOFLAGS, toolchain.CGOEnabled
	if is, _, _ := strings.Cut(toolchain.GoVersion, " "); !goenv.IsRelease(is, w.ExpectGo) {
		return fmt.Errorf("the go command is %s, not go%s: a build cache is of use only to the release that wrote it; name an image that holds that release, or correct the version", is, w.ExpectGo)
	}
	volume.Umask(w.Umask)
	for _, dir := range []string{w.ModCache, w.BuildCache} {
		if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // the umask decides
			return fmt.Errorf("the volume is not writable: %w", err)
		}
	}
	if err := volume.RemoveRepositories(w.ModCache); err != nil { // or the go command uses what another process left there
		return err
	}
	if err := w.unsealed(ctx); err != nil {
		return err
	}
	w.written = true
	if err := record.WriteToolchain(w.Root, toolchain); err != nil {
		return err
	}
	return volume.BeginUse(w.BuildCache, w.Clock())
}

// env is the go command's environment: the pod's, with the caches in their
// place and nothing that would let it write elsewhere.
func (w *warming) env(temp string) []string {
	env := append([]string{}, w.Env...)
	set := func(name, value string) { env = append(env, name+"="+value) }
	unset := func(name, value string) {
		if lookup(w.Env, name) == "" {
			set(name, value)
		}
	}
	set("GOMODCACHE", w.ModCache)
	set("GOCACHE", w.BuildCache)
	set("GOTMPDIR", temp)
	set("GOWORK", "off")
	unset("GOENV", "off")
	unset("GOTOOLCHAIN", "local")
	unset("HOME", temp)
	unset("GOPATH", filepath.Join(temp, "gopath"))
	return env
}

func lookup(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// seal checks what was written, records it and flushes it.
func (w *warming) seal(ctx context.Context) error {
	if err := errors.Join(volume.RemoveRepositories(w.ModCache), volume.RemoveUnfinished(w.ModCache)); err != nil {
		return err
	}
	now := w.Clock()
	if err := volume.Keep(w.BuildCache, now); err != nil {
		return fmt.Errorf("setting times in the build cache: %w", err)
	}
	if err := w.snapshots(); err != nil {
		return fmt.Errorf("recording what comes from GOROOT: %w", err)
	}
	if err := w.use.record(w.Root, w.ModCache, now); err != nil {
		return fmt.Errorf("recording what was used: %w", err)
	}
	if err := w.check(ctx, now); err != nil {
		return err
	}
	w.made.Message = strings.Join(w.notes, "; ")
	if w.corrupt != "" {
		w.made.Outcome, w.made.Message = warmup.Corrupt, strings.Join(append([]string{w.corrupt}, w.notes...), "; ")
	}
	return volume.Sync(w.Root)
}

func (o *Options) report(r warmup.Report) error {
	var err error
	if o.JSON {
		err = json.NewEncoder(o.Stdout).Encode(r)
	} else {
		_, err = fmt.Fprintf(o.Stdout, "%s: %d module versions, %d build entries, %d MiB used of %d MiB, in %.1f s\n%s\n",
			r.Outcome, r.Modules, r.BuildEntries, r.UsedBytes>>20, r.CapacityBytes>>20, r.DurationSeconds, r.Summary())
	}
	if o.TerminationLog == "" {
		return err
	}
	return errors.Join(err, os.WriteFile(o.TerminationLog, r.Fit(integrity.TerminationLimit), 0o644)) //nolint:gosec // the kubelet reads it
}
