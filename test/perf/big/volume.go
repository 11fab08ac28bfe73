package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/testing/cachetree"
	"gocache.dev/operator/internal/testing/imagepool"
	"gocache.dev/operator/internal/testing/measure"
)

// bench is where everything is.
type bench struct {
	*imagepool.Pool
	dir   string
	agent string
	rows  []row
}

// row is one operation on one volume.
type row struct {
	entries   int
	operation string
	cost      measure.Cost
	note      string
}

func (b *bench) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

func (b *bench) mod() string   { return filepath.Join(b.Mount, "mod") }
func (b *bench) build() string { return filepath.Join(b.Mount, "build") }

func (b *bench) record(s size, operation string, c measure.Cost, note string) {
	b.rows = append(b.rows, row{s.entries, operation, c, note})
	fmt.Fprintf(os.Stderr, "%d entries, %s: %.1f s, %.1f s of processor time, %d MiB %s\n", s.entries, operation, c.Wall.Seconds(), c.CPU.Seconds(), c.Resident>>20, note)
}

// volume makes one, and measures each operation on it. In the end it is removed.
func (b *bench) volume(ctx context.Context, s size) error {
	if err := b.Open(ctx); err != nil {
		return err
	}
	image := b.In("cache.img")
	if err := imagepool.Format(ctx, image, 1<<39); err != nil {
		return err
	}
	if err := b.Attach(ctx, image, "rw"); err != nil {
		return err
	}
	began := time.Now()
	if err := b.fill(ctx, s); err != nil {
		return err
	}
	b.record(s, "fill, by this program", measure.Cost{Wall: time.Since(began)}, "")
	for _, step := range []func(context.Context, size, string) error{b.warm, b.snapshot, b.verify, b.firstBuild, b.trim} {
		if err := step(ctx, s, image); err != nil {
			return err
		}
	}
	if err := b.Close(ctx); err != nil {
		return err
	}
	return os.Remove(b.Image)
}

// Of the module cache: files of one version, and the bytes of one. A version is about
// twice as large, since its zip holds the same, and cannot be compressed.
const (
	filesEach = 100
	fileBytes = 20 << 10
)

// used is the module that the program requires, version the one in it.
var used = module.Version{Path: "example.com/g000/m", Version: "v1.0.0"}

// fill makes the caches, and the program that is built with them.
func (b *bench) fill(ctx context.Context, s size) error {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // content that is the same each time
	var sum string
	for n := range int(s.modules / (2 * filesEach * fileBytes)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := module.Version{Path: fmt.Sprintf("example.com/g%03d/m", n/100), Version: fmt.Sprintf("v1.%d.0", n%100)}
		h1, err := cachetree.Version(b.mod(), m, files(m, random))
		if err != nil {
			return err
		}
		if m == used {
			sum = h1
		}
	}
	data := make([]byte, 700)
	for i := range s.entries / 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(data, uint64(i))
		if err := cachetree.BuildEntry(b.build(), data, uint64(i)); err != nil {
			return err
		}
	}
	return b.program(sum)
}

// files are the files of one version: a package of a line, and data that cannot be
// compressed beside it.
func files(m module.Version, random *rand.Rand) map[string]string {
	all := map[string]string{"go.mod": "module " + m.Path + "\n", "m.go": "package m\n\nconst N = 1\n"}
	for i := range filesEach {
		data := make([]byte, 0, fileBytes)
		for len(data) < fileBytes {
			data = binary.LittleEndian.AppendUint64(data, random.Uint64())
		}
		all[fmt.Sprintf("data/%03d.bin", i)] = string(data)
	}
	return all
}

// program writes the program that requires a module of the cache.
func (b *bench) program(sum string) error {
	modSum, err := cachetree.ModSum("module " + used.Path + "\n")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.path("program"), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"go.mod":   fmt.Sprintf("module example.com/program\n\ngo 1.26\n\nrequire %s %s\n", used.Path, used.Version),
		"go.sum":   fmt.Sprintf("%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n", used.Path, used.Version, sum, modSum),
		"main.go":  fmt.Sprintf("package main\n\nimport (\n\t\"fmt\"\n\n\t%q\n)\n\nfunc main() { fmt.Println(m.N) }\n", used.Path),
		"packages": "./...\n",
	} {
		if err := os.WriteFile(b.path("program", name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// env is the environment of go commands: nothing of this machine's settings.
func (b *bench) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.path("home"), "GOENV=off", "GOTOOLCHAIN=local", "GOSUMDB=off", "GOWORK=off", "CGO_ENABLED=0",
		"GOFLAGS=-mod=readonly", "GOPROXY=off", "GOMODCACHE=" + b.mod(), "GOCACHE=" + b.build(),
	}
}

// run runs the agent on a volume that has just been mounted.
func (b *bench) run(ctx context.Context, image string, args ...string) (measure.Cost, error) {
	if err := b.Detach(ctx); err != nil {
		return measure.Cost{}, err
	}
	if err := b.Attach(ctx, image, "rw"); err != nil {
		return measure.Cost{}, err
	}
	cmd := exec.CommandContext(ctx, b.agent, args...)
	cmd.Env = b.env()
	return measure.Peak(cmd)
}

// warm runs a warm-up twice: one that compiles what the program needs, and one that
// has nothing to add. Each reads, records and seals everything.
func (b *bench) warm(ctx context.Context, s size, image string) error {
	source, err := json.Marshal(map[string]any{"name": "program", "dir": b.path("program"), "repository": true})
	if err != nil {
		return err
	}
	for _, operation := range []string{"warm-up and seal, the program is new", "warm-up and seal, nothing is new"} {
		c, err := b.run(ctx, image, "warm", "--modcache", b.mod(), "--buildcache", b.build(), "--root", b.Mount, "--source", string(source), "--termination-log", b.path("warm.json"))
		if err != nil {
			return err
		}
		report, err := os.ReadFile(b.path("warm.json"))
		if err != nil {
			return err
		}
		var r struct {
			Modules, BuildEntries int64
			ManifestDigest        string
		}
		if err := json.Unmarshal(report, &r); err != nil {
			return err
		}
		if r.BuildEntries < int64(s.entries) || r.ManifestDigest == "" {
			return fmt.Errorf("the warm-up has recorded %.500s", report)
		}
		b.record(s, operation, c, fmt.Sprintf("%d module versions, %d files of the build cache", r.Modules, r.BuildEntries))
	}
	return nil
}

// snapshot clones the volume by reference, twice: a snapshot, and a clone of that for
// each later operation.
func (b *bench) snapshot(ctx context.Context, s size, image string) error {
	if err := b.Detach(ctx); err != nil {
		return err
	}
	for _, one := range []struct{ operation, from, to string }{
		{"snapshot, by reference", image, b.In("snapshot.img")},
		{"clone, by reference", b.In("snapshot.img"), b.In("clone.img")},
	} {
		began := time.Now()
		if err := b.Clone(ctx, one.from, one.to); err != nil {
			return err
		}
		b.record(s, one.operation, measure.Cost{Wall: time.Since(began)}, "")
	}
	began := time.Now()
	if err := b.Attach(ctx, b.In("clone.img"), "rw"); err != nil {
		return err
	}
	b.record(s, "mount of the clone", measure.Cost{Wall: time.Since(began)}, "")
	return nil
}

// verify checks a clone: in full, and what has changed since.
func (b *bench) verify(ctx context.Context, s size, _ string) error {
	clone := b.In("clone.img")
	args := []string{"verify", "--json", "--volume", b.Mount, "--modcache", b.mod(), "--buildcache", b.build()}
	c, err := b.run(ctx, clone, append(args, "--manifest", b.path("full.zst"))...)
	if err != nil {
		return err
	}
	b.record(s, "verification, full", c, "")
	c, err = b.run(ctx, clone, append(args, "--baseline", b.path("full.zst"))...)
	if err != nil {
		return err
	}
	b.record(s, "verification, of what changed", c, "")
	return nil
}

// firstBuild builds the program on the clone: the first time with nothing of the
// volume in memory, then again.
func (b *bench) firstBuild(ctx context.Context, s size, _ string) error {
	if err := b.Detach(ctx); err != nil {
		return err
	}
	if err := b.Attach(ctx, b.In("clone.img"), "rw"); err != nil {
		return err
	}
	for _, operation := range []string{"first build on the clone", "the same build again"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-x", "-o", b.path("built"), ".")
		cmd.Dir, cmd.Env = b.path("program"), b.env()
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %.2000s", cmd, err, out)
		}
		if strings.Contains(string(out), "/compile -o") || strings.Contains(string(out), `\compile`) {
			return fmt.Errorf("%s: the go command compiled something:\n%.2000s", operation, out)
		}
		b.record(s, operation, measure.Cost{Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, "0 packages compiled")
	}
	return nil
}

// trim halves the build cache of the clone, and compares the volume with the one before.
func (b *bench) trim(ctx context.Context, s size, _ string) error {
	clone := b.In("clone.img")
	half := fmt.Sprintf("%d", s.entries/2*700/2)
	c, err := b.run(ctx, clone, "trim", "--buildcache", b.build(), "--max-size", half, "--min-age", "1ns", "--grace", "0")
	if err != nil {
		return err
	}
	b.record(s, "trim to half of the size", c, "")
	if c, err = b.run(ctx, clone, "verify", "--json", "--modcache", b.mod(), "--buildcache", b.build(), "--baseline", b.path("full.zst"), "--manifest", b.path("trimmed.zst")); err != nil {
		return err
	}
	b.record(s, "verification after the trim", c, "")
	if c, err = b.run(ctx, clone, "diff", b.path("full.zst"), b.path("trimmed.zst")); err != nil {
		return err
	}
	b.record(s, "comparison of both manifests", c, "")
	return nil
}

// table prints all rows, and how the memory of an operation grows with the entries.
func (b *bench) table() {
	fmt.Println("| files of the build cache | operation | wall time | processor time | most memory | bytes more for each entry more |")
	fmt.Println("|---|---|---|---|---|---|")
	before := map[string]row{}
	for _, r := range b.rows {
		memory, growth := "", ""
		if r.cost.Resident > 0 {
			memory = fmt.Sprintf("%d MiB", r.cost.Resident>>20)
			if p, ok := before[r.operation]; ok && r.entries > p.entries {
				growth = fmt.Sprintf("%.1f", float64(r.cost.Resident-p.cost.Resident)/float64(r.entries-p.entries))
			}
		}
		before[r.operation] = r
		cpu := ""
		if r.cost.CPU > 0 {
			cpu = fmt.Sprintf("%.1f s", r.cost.CPU.Seconds())
		}
		fmt.Printf("| %d | %s | %.2f s | %s | %s | %s |\n", r.entries, r.operation, r.cost.Wall.Seconds(), cpu, memory, growth)
	}
}
