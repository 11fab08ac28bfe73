package offlinebuild

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/offlinebuild"
)

// Options are the command's flags.
type Options struct {
	ModCache       string
	BuildCache     string
	Program        string // directory with go.mod, go.sum and the files of package main
	Vendor         bool   // also run go mod vendor
	Go             string // the go command
	JSON           bool
	TerminationLog string

	Clock  func() time.Time
	Env    []string // of the process
	Stdout io.Writer
}

// Run runs the test. It always returns a report; an error means that the report
// could not be written.
func Run(ctx context.Context, o Options) (offlinebuild.Report, error) {
	start := o.Clock()
	d := &test{Options: o, report: offlinebuild.Report{Outcome: offlinebuild.Succeeded}}
	if err := d.all(ctx); err != nil {
		d.report.Outcome, d.report.Message = offlinebuild.Inconclusive, err.Error()
		var failed *failure
		if errors.As(err, &failed) && ctx.Err() == nil {
			d.report.Outcome, d.report.Step, d.report.Message = offlinebuild.Failed, failed.step, failed.why
		}
	}
	d.report.DurationSeconds = o.Clock().Sub(start).Round(time.Millisecond).Seconds()
	return d.report, d.write()
}

// test is one run.
type test struct {
	Options
	report offlinebuild.Report
	dir    string // a private copy of the program
	env    []string
}

// failure is a step that failed because of the caches or the program.
type failure struct{ step, why string }

// Error names step and reason.
func (f *failure) Error() string { return f.step + ": " + f.why }

func (d *test) all(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "offline-build-")
	if err != nil {
		return fmt.Errorf("making a private directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	d.dir = filepath.Join(temp, "program")
	if err := copyFiles(d.Program, d.dir); err != nil {
		return fmt.Errorf("copying the program: %w", err)
	}
	d.env = d.offline(temp)
	binary := filepath.Join(temp, "binary")
	for _, args := range [][]string{{"mod", "verify"}, {"build", "-mod=readonly", "-o", binary, "."}} {
		if _, err := d.run(ctx, args...); err != nil {
			return err
		}
	}
	if err := d.compare(ctx, binary); err != nil {
		return err
	}
	if d.Vendor {
		_, err = d.run(ctx, "mod", "vendor", "-o", filepath.Join(temp, "vendor"))
	}
	return err
}

// offline is the environment of a go command that has the caches and nothing
// else. What comes later in the list wins.
func (d *test) offline(temp string) []string {
	return append(append([]string{}, d.Env...),
		"GOMODCACHE="+d.ModCache, "GOCACHE="+d.BuildCache,
		"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=local", "GOENV=off", "GOWORK=off",
		"GOTMPDIR="+temp, "GOPATH="+filepath.Join(temp, "gopath"), "HOME="+temp,
	)
}

// compare holds what was linked against what go.mod resolves to for the packages
// of the program. A list of all modules would ask for the go.mod files of those
// that no build needs, and no cache has.
func (d *test) compare(ctx context.Context, binary string) error {
	const step = "go version -m"
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return &failure{step, "the result is no Go program (" + err.Error() + "): the files must be those of a package main"}
	}
	out, err := d.run(ctx, "list", "-mod=readonly", "-deps", "-f", "{{with .Module}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}", ".")
	if err != nil {
		return err
	}
	expected := map[string]bool{}
	for line := range strings.Lines(out) {
		expected[strings.TrimSpace(line)] = true
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		if is := strings.TrimSpace(dep.Path + " " + dep.Version); !expected[is] {
			return &failure{step, "the program was linked with " + is + ", which is not what go.mod resolves to"}
		}
		d.report.Modules++
	}
	return nil
}

// run runs the go command and returns its output.
func (d *test) run(ctx context.Context, args ...string) (string, error) {
	_, _ = fmt.Fprintf(d.Stdout, "+ go %s\n", strings.Join(args, " "))
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, d.Go, args...) //nolint:gosec // the caller names the go command
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = d.dir, d.env, &out, io.MultiWriter(&errs, d.Stdout)
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	output := strings.TrimSpace(errs.String() + out.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 || strings.Contains(output, "no space left on device") {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, output)
	}
	step := "go " + args[0]
	if args[0] == "mod" {
		step += " " + args[1]
	}
	return "", &failure{step, output}
}

func (d *test) write() error {
	var err error
	if d.JSON {
		err = json.NewEncoder(d.Stdout).Encode(d.report)
	} else {
		_, err = fmt.Fprintf(d.Stdout, "%s: %d modules, in %.1f s\n%s\n", d.report.Outcome, d.report.Modules, d.report.DurationSeconds, d.report.Message)
	}
	if d.TerminationLog == "" {
		return err
	}
	return errors.Join(err, os.WriteFile(d.TerminationLog, d.report.Fit(integrity.TerminationLimit), 0o644)) //nolint:gosec // the kubelet reads it
}

const maxFile = 4 << 20

// copyFiles copies the files of a directory, where the go command may write
// beside them. The directory may be a mounted ConfigMap: flat, read-only, and
// each file a link.
func copyFiles(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(from, e.Name())
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() { // a mounted ConfigMap has a folder of its own
			continue
		}
		if info.Size() > maxFile {
			return fmt.Errorf("%s has more than %d bytes", name, maxFile)
		}
		data, err := os.ReadFile(name) //nolint:gosec // the caller names the directory
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil { //nolint:gosec // names of a directory just listed
			return err
		}
	}
	return nil
}
