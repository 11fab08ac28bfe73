package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	versionPackage = "gocache.dev/operator/internal/domain/version"
	plugin         = "kubectl-gocache"
	// topProgram is the last element of the module's path.
	topProgram = "operator"
	// dirty marks the hash of a commit whose work tree was changed.
	dirty = "-dirty"
	// buildGrace is how long a go command has to end once it is interrupted.
	buildGrace = 30 * time.Second
)

// platforms of the operator's programs and of the plugin.
var (
	operatorPlatforms = []string{"linux/amd64", "linux/arm64"}
	pluginPlatforms   = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
)

// only keeps of some platforms the one that a trial is limited to.
func (o Options) only(platforms []string) []string {
	if o.Platform == "" {
		return platforms
	}
	return slices.DeleteFunc(slices.Clone(platforms), func(p string) bool { return p != o.Platform })
}

// operatorPrograms are the programs of the image, by the folder of their main
// package.
var operatorPrograms = []struct{ name, folder string }{
	{"manager", "."},
	{"gocache-agent", "internal/cmd/gocache-agent"},
	{"gocache-proxy", "internal/cmd/gocache-proxy"},
	{"gocache-router", "internal/cmd/gocache-router"},
}

// readCommit finds the source, and refuses one that cannot be built again.
func readCommit(ctx context.Context, o Options) (commit, error) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", o.Root}, args...)...) //nolint:gosec // fixed arguments
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
		}
		return strings.TrimSpace(string(out)), nil
	}
	line, err := git("log", "-1", "--format=%H %ct")
	if err != nil {
		return commit{}, err
	}
	hash, seconds, _ := strings.Cut(line, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return commit{}, fmt.Errorf("time of commit %s: %w", hash, err)
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return commit{}, err
	}
	tags, err := git("tag", "--points-at", "HEAD")
	if err != nil {
		return commit{}, err
	}
	tagged := strings.Contains("\n"+tags+"\n", "\n"+o.Version+"\n")
	switch {
	case o.Untagged:
		if changed != "" {
			hash += dirty
		}
		return commit{hash: hash, time: time.Unix(unix, 0).UTC(), tagged: tagged && changed == ""}, nil
	case changed != "":
		return commit{}, errors.New("the work tree differs from its commit: commit the changes, or try a release with ALLOW_DIRTY=1")
	case !tagged:
		return commit{}, fmt.Errorf("commit %s does not have the tag %s: create it, or try a release with ALLOW_DIRTY=1", hash, o.Version)
	}
	return commit{hash: hash, time: time.Unix(unix, 0).UTC(), tagged: true}, nil
}

// readToolchain asks the go command for what it would build with here.
func readToolchain(ctx context.Context, o Options) (toolchain, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOROOT")
	cmd.Dir = o.Root
	out, err := cmd.Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	version, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return toolchain{version, root}, nil
}

// build builds every program for its platforms, below dir. The programs of a
// platform are built by one go command, which compiles and links what does not
// depend on each other at the same time.
func build(ctx context.Context, o Options, dir string) ([]program, error) {
	folders := map[string][]program{}
	var platforms []string
	add := func(name, folder, platform string) {
		goos, arch, _ := strings.Cut(platform, "/")
		p := program{name: name, folder: folder, os: goos, arch: arch, file: filepath.Join(dir, goos+"-"+arch, name)}
		if goos == "windows" {
			p.file += ".exe"
		}
		if folders[platform] == nil {
			platforms = append(platforms, platform)
		}
		folders[platform] = append(folders[platform], p)
	}
	for _, platform := range o.only(operatorPlatforms) {
		for _, p := range operatorPrograms {
			add(p.name, p.folder, platform)
		}
	}
	for _, platform := range o.only(pluginPlatforms) {
		add(plugin, "internal/cmd/"+plugin, platform)
	}
	var programs []program
	for _, platform := range platforms {
		if err := goBuild(ctx, o, folders[platform], filepath.Join(dir, strings.ReplaceAll(platform, "/", "-"))); err != nil {
			return nil, err
		}
		programs = append(programs, folders[platform]...)
	}
	return programs, nil
}

// goBuild builds the programs of one platform so that nothing of this machine is
// in them. Nothing is downloaded: a release does not depend on what a network
// answers.
func goBuild(ctx context.Context, o Options, programs []program, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	began := time.Now()
	goos, arch := programs[0].os, programs[0].arch
	flags := fmt.Sprintf("-s -w -buildid= -X %[1]s.version=%[2]s -X %[1]s.commit=%[3]s", versionPackage, o.Version, o.commit.hash)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", dir + string(filepath.Separator)}
	for _, p := range programs {
		args = append(args, "./"+p.folder)
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // fixed arguments
	cmd.Dir = o.Root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
	// Interrupted, the go command removes its temporary files.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = buildGrace
	if out, err := cmd.CombinedOutput(); err != nil {
		hint := ""
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case bytes.Contains(out, []byte("GOPROXY=off")):
			hint = " (modules that are missing: run go mod download)"
		}
		return fmt.Errorf("build for %s/%s%s: %w\n%s", goos, arch, hint, err, out)
	}
	for _, p := range programs {
		if p.folder != "." {
			continue
		}
		// The go command names the program at the top after the module.
		if err := os.Rename(filepath.Join(dir, topProgram), p.file); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "%s/%s: %d programs built in %s\n", goos, arch, len(programs), time.Since(began).Round(time.Second))
	return nil
}
