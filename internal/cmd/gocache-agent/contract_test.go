package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// ended runs the command in this process, and returns both outputs and how it ends.
func ended(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(""))
	root.SetOut(&out)
	root.SetErr(&errs)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

// program runs the command in a process of its own.
func program(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestWrongUsage holds which flags and arguments each command refuses, with the exit code
// of wrong usage, and what it names.
func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	both := "--modcache " + dir + " --buildcache " + dir
	for args, want := range map[string]string{
		"cleanup --max-age 1h":                                       "cleanup needs --modcache or --buildcache",
		"cleanup --modcache " + dir:                                  "cleanup needs --max-size or --max-age",
		"cleanup --buildcache " + dir:                                "cleanup needs --max-size or --max-age",
		"cleanup --max-age 1h --umask 8 " + both:                     `--umask "8": must be octal`,
		"cleanup --max-age 1h --umask 1000 " + both:                  `--umask "1000": must be octal`,
		"cleanup --umask 777":                                        "cleanup needs --modcache or --buildcache",
		"cleanup --max-size 1 --apply sha256:0 " + both:              "--apply needs the plan's --as-of",
		"cleanup --max-size 1 --as-of yesterday " + both:             "--as-of: ",
		"cleanup --max-size x " + both:                               "is no size such as 10Gi",
		"warm --modcache " + dir:                                     "warm needs --modcache and --buildcache",
		"warm --buildcache " + dir:                                   "warm needs --modcache and --buildcache",
		"warm --umask 8 " + both:                                     `--umask "8": must be octal`,
		"warm --umask 1000 " + both:                                  `--umask "1000": must be octal`,
		"warm --umask 777":                                           "warm needs --modcache and --buildcache",
		"warm --source {} " + both:                                   "--source: a source without a directory",
		"fetch --url http://git.test/x":                              "fetch needs --url and --dir",
		"fetch --dir " + dir:                                         "fetch needs --url and --dir",
		"offline-build " + both:                                      "offline-build needs --modcache, --buildcache and --program",
		"offline-build --program x --modcache " + dir:                "offline-build needs --modcache, --buildcache and --program",
		"offline-build --program x --buildcache " + dir:              "offline-build needs --modcache, --buildcache and --program",
		"restore --from " + dir:                                      "restore needs --from and --to",
		"restore --to " + dir:                                        "restore needs --from and --to",
		"store --listen 127.0.0.1:0":                                 "store needs --store",
		"store --once --prepare --layout none --store " + dir + "/s": "layout",
		"vcs --dir " + dir:                                           "vcs needs --dir and --modules",
		"vcs --modules git.test":                                     "vcs needs --dir and --modules",
		"install":                                                    "install needs one directory",
		"install a b":                                                "install needs one directory",
		"diff a":                                                     "diff needs two manifests",
		"diff a b c":                                                 "diff needs two manifests",
		"volume-test write":                                          "volume-test needs one directory",
		"volume-test check a b":                                      "volume-test needs one directory",
		"manifest":                                                   "",
		"repair":                                                     "",
		"verify":                                                     "",
		"usage x":                                                    `unexpected argument "x"`,
		"verify --no-such-flag":                                      "unknown flag",
	} {
		out, _, err := ended(t, strings.Fields(args)...)
		if exitcode.Of(err) != exitcode.Usage || err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, printed %q, want %q", args, err, out, want)
		}
	}
	t.Setenv("HTTPS_PROXY", "ftp://proxy.test")
	if _, _, err := ended(t, "fetch", "--url", "http://git.test/x", "--dir", dir); exitcode.Of(err) != exitcode.Usage {
		t.Errorf("a proxy that is none: %v", err)
	}
}

// TestErrorsAreNoUsage holds which code commands end with that cannot do their work.
func TestErrorsAreNoUsage(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	none := filepath.Join(dir, "none")
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"manifest --modcache " + none:                               {exitcode.Inconclusive, "there is no such directory"},
		"manifest --output " + file + "/m --modcache " + dir:        {exitcode.Inconclusive, "not a directory"},
		"repair --modcache " + none:                                 {exitcode.Inconclusive, "there is no such directory"},
		"restore --from " + none + " --to " + dir + "/new":          {exitcode.Failed, "no such file"},
		"store --listen no:address:x --store " + dir:                {exitcode.Failed, "no:address:x"},
		"vcs --modules git.test --dir " + file:                      {exitcode.Failed, "empty " + file},
		"vcs --modules git.test --listen no:address:x --dir " + dir: {exitcode.Failed, "listen on no:address:x"},
		"vcs-help help":             {exitcode.Failed, `there is no help for "help"`},
		"vcs-help ssh":              {255, "a host or a command is missing"},
		"install " + file:           {exitcode.Failed, file},
		"diff " + none + " " + file: {exitcode.Failed, "no such file"},
		"diff " + file + " " + none: {exitcode.Failed, ""},
		"usage --dir " + none:       {exitcode.Failed, "no such file"},
		"volume-test write " + file: {exitcode.Failed, file},
		"volume-test check " + dir:  {exitcode.Corrupt, "is missing"},
	} {
		if _, _, err := ended(t, strings.Fields(args)...); exitcode.Of(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: code %d, %v, want %d, %q", args, exitcode.Of(err), err, want.code, want.text)
		}
	}
	for _, args := range []string{"skip-test", "skip-test --no-such-flag x", "vcs-help git store"} {
		if out, _, err := ended(t, strings.Fields(args)...); err != nil || out != "" {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
}

// TestReportedOnce holds what of an error is printed: nothing that the report has already.
func TestReportedOnce(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	out, errs, code := program(t, "verify", "--buildcache", tree.BuildCache)
	if code != exitcode.Corrupt || !strings.Contains(out, "Corrupt") || strings.Contains(errs, "gocache-agent:") {
		t.Errorf("as text: code %d, %q, %q", code, out, errs)
	}
	out, errs, code = program(t, "verify", "--buildcache", tree.BuildCache, "--json")
	if code != exitcode.Corrupt || !strings.HasPrefix(out, "{") || strings.Count(errs, "gocache-agent: Corrupt: ") != 1 {
		t.Errorf("as JSON: code %d, %q, %q", code, out, errs)
	}
	if out, errs, code = program(t, "install"); code != exitcode.Usage || out != "" || errs != "gocache-agent: install needs one directory\n" {
		t.Errorf("wrong usage: code %d, %q, %q", code, out, errs)
	}
	// The flag decides, and not the limit of the container.
	t.Setenv(agentcommand.FetchMemoryVariable, "much")
	if _, errs, code := program(t, "fetch", "--url", "ftp://git.test/x", "--dir", t.TempDir(), "--max-memory", "1Gi"); code != exitcode.Failed {
		t.Errorf("a limit by its flag: code %d, %s", code, errs)
	}
}

// TestVolumeTest holds what is reported of the files on a volume, and that the volume stays
// mounted as long as is asked for.
func TestVolumeTest(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	if out, _, err := ended(t, "volume-test", "write", dir); err != nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	check := func(args ...string) (string, string, error) {
		t.Helper()
		out, _, err := ended(t, append([]string{"volume-test", "check", dir}, args...)...)
		text, readErr := os.ReadFile(log)
		if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
			t.Fatal(readErr)
		}
		return out, string(text), err
	}
	if out, text, err := check("--termination-log", log); err != nil || !strings.HasPrefix(out, `{"files":64,`) || out != text+"\n" {
		t.Errorf("%q, %q, %v", out, text, err)
	}
	if _, _, err := check("--termination-log", filepath.Join(dir, "none", "log")); exitcode.Of(err) != exitcode.Failed {
		t.Errorf("a log in no directory: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "volume-test", "063"), nil, 0o600))
	if out, text, err := check("--termination-log", log); exitcode.Of(err) != exitcode.Corrupt || out != "" || !strings.Contains(text, "has other content") || err.Error() != text {
		t.Errorf("%q, %q, %v", out, text, err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "volume-test")))
	if _, _, err := ended(t, "volume-test", "write", dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	root, returned := newRoot(), make(chan error, 1)
	root.SetArgs([]string{"volume-test", "check", dir, "--hold", "--termination-log", log})
	root.SetOut(&bytes.Buffer{})
	must(t, os.Remove(log))
	go func() { returned <- root.ExecuteContext(ctx) }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(log); err == nil && strings.HasSuffix(string(text), "}") {
			break
		}
	}
	select {
	case err := <-returned:
		t.Errorf("it does not hold the volume: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if err := <-returned; err != nil {
		t.Error(err)
	}
}

// TestDiffContract holds what a comparison prints, and what it leaves for the operator.
func TestDiffContract(t *testing.T) {
	tree, dir := cachetree.New(t), t.TempDir()
	before, after, log := filepath.Join(dir, "before"), filepath.Join(dir, "after"), filepath.Join(dir, "log")
	text, digest, err := ended(t, "manifest", "--modcache", tree.ModCache)
	if err != nil || !strings.HasPrefix(digest, "sha256:") || text == "" {
		t.Fatalf("%q, %v", digest, err)
	}
	must(t, os.WriteFile(before, []byte(text), 0o600))
	forged := strings.Replace(text, "example.com/lib v1.2.0 h1:g", "example.com/lib v1.2.0 h1:h", 1)
	must(t, os.WriteFile(after, []byte(forged), 0o600))
	out, errs, err := ended(t, "diff", before, after, "--json", "--termination-log", log)
	if exitcode.Of(err) != exitcode.Corrupt || !strings.Contains(err.Error(), "content changed under the same name") {
		t.Errorf("a forgery: %v", err)
	}
	var change manifest.Change
	if err := json.Unmarshal([]byte(out), &change); err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("printed %q, %v", out, err)
	}
	if errs != "0 added, 0 removed, 1 changed, 0 repacked, 0 with other parts, 0 rebuilt\n" {
		t.Errorf("the numbers are %q", errs)
	}
	var compared manifest.Comparison
	left, err := os.ReadFile(log)
	if err := errors.Join(err, json.Unmarshal(left, &compared)); err != nil || compared.From != strings.TrimSpace(digest) || compared.To == compared.From || len(compared.Counts) != 1 || compared.Counts[manifest.Changed] != 1 {
		t.Errorf("left %s, %v", left, err)
	}
	if out, errs, err := ended(t, "diff", before, before); err != nil || out != "" || !strings.HasPrefix(errs, "0 added, 0 removed, 0 changed, ") {
		t.Errorf("the same: %q, %q, %v", out, errs, err)
	}
	if _, _, err := ended(t, "diff", before, before, "--termination-log", filepath.Join(dir, "none", "log")); exitcode.Of(err) != exitcode.Failed {
		t.Errorf("a log in no directory: %v", err)
	}
	must(t, os.WriteFile(after, []byte("no manifest\n"), 0o600))
	if _, _, err := ended(t, "diff", before, after); exitcode.Of(err) != exitcode.Failed {
		t.Errorf("no manifest: %v", err)
	}
	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if _, _, err := ended(t, "manifest", "--buildcache", tree.BuildCache); exitcode.Of(err) != exitcode.Corrupt {
		t.Errorf("a manifest of a corrupt cache: %v", err)
	}
}

// TestRepairContract holds what a repair prints and leaves, for each of its ends.
func TestRepairContract(t *testing.T) {
	tree, log := cachetree.New(t), filepath.Join(t.TempDir(), "log")
	left := func() integrity.Repaired {
		t.Helper()
		text, err := os.ReadFile(log)
		must(t, err)
		r, err := integrity.ParseRepaired(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		return r
	}
	build := []string{"repair", "--buildcache", tree.BuildCache, "--termination-log", log}
	if out, _, err := ended(t, build...); err != nil || !strings.HasPrefix(out, "nothing to remove. Intact: ") || left().Removed != 0 {
		t.Errorf("%q, %v, %+v", out, err, left())
	}
	archive := cachetree.Archive(t, tree)
	cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	out, _, err := ended(t, append(build, "--dry-run")...)
	if exitcode.Of(err) != exitcode.Corrupt || !strings.HasPrefix(out, "would remove from ") || !strings.Contains(out, "\nwould remove 1 paths.\nbefore  Corrupt: ") {
		t.Errorf("%q, %v", out, err)
	}
	if r := left(); r.Removed != 1 || r.Before == "" || r.After.Verdict != integrity.OutcomeCorrupt || cachetree.Missing(archive) {
		t.Errorf("a dry run leaves %+v", r)
	}
	if out, _, err := ended(t, append(build, "--json")...); err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"removed":[{`) {
		t.Errorf("%q, %v", out, err)
	}
	if r := left(); r.Removed != 2 || r.After.Verdict != integrity.Intact || !cachetree.Missing(archive) {
		t.Errorf("a repair leaves %+v", r)
	}

	sum := filepath.Join(t.TempDir(), "go.sum")
	text, err := os.ReadFile(tree.GoSum())
	must(t, err)
	must(t, os.WriteFile(sum, bytes.Replace(text, []byte("example.com/lib v1.2.0 h1:g"), []byte("example.com/lib v1.2.0 h1:h"), 1), 0o600))
	modules := []string{"repair", "--modcache", tree.ModCache, "--gosum", sum, "--spare-mismatches", "--termination-log", log}
	if _, _, err := ended(t, modules...); exitcode.Of(err) != exitcode.Inconclusive || !strings.Contains(err.Error(), "contradicts trust data") || !strings.Contains(left().Refused, "contradicts trust data") {
		t.Errorf("%v, %+v", err, left())
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, _, err := ended(t, "repair", "--volume", none, "--modcache", none, "--termination-log", log); err == nil {
		t.Error("a volume that is not there: no error")
	}
	for _, args := range [][]string{{"--termination-log", none + "/log"}, {"--termination-log", none + "/log", "--json"}} {
		if out, _, err := ended(t, append([]string{"repair", "--buildcache", tree.BuildCache}, args...)...); exitcode.Of(err) != exitcode.Failed || out != "" {
			t.Errorf("a log in no directory: %q, %v", out, err)
		}
	}
}

// TestRepairNames holds that the name of a file on a volume does not reach a terminal as it is.
func TestRepairNames(t *testing.T) {
	var out bytes.Buffer
	must(t, printRepair(&out, repair.Result{Removed: []repair.Removal{{Cache: "build", Path: "ab/\x1b[2J\nall is well"}}}, false))
	if !strings.Contains(out.String(), "removed from build: ab/?[2J?all is well (") {
		t.Errorf("%q", out.String())
	}
}

// TestRestoreContract holds that the report of a copy is printed, and that the verdict of
// its check is the end of the command.
func TestRestoreContract(t *testing.T) {
	tree := cachetree.New(t)
	args := func(more ...string) []string {
		from := filepath.Dir(tree.ModCache)
		mod, err := filepath.Rel(from, tree.ModCache)
		must(t, err)
		build, err := filepath.Rel(from, tree.BuildCache)
		must(t, err)
		return append([]string{"restore", "--from", from, "--to", filepath.Join(t.TempDir(), "to"), "--mod-dir", mod, "--build-dir", build}, more...)
	}
	copied := func(want int, more ...string) (r restore.Result) {
		t.Helper()
		out, _, err := ended(t, args(more...)...)
		if exitcode.Of(err) != want || json.Unmarshal([]byte(out), &r) != nil || r.Files == 0 {
			t.Errorf("%v: %q, %v, want code %d", more, out, err, want)
		}
		return r
	}
	if r := copied(exitcode.OK); r.Verdict == nil || r.Verdict.Verdict != integrity.Intact {
		t.Errorf("%+v", r)
	}
	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if r := copied(exitcode.Corrupt); r.Verdict == nil {
		t.Errorf("%+v", r)
	}
	if r := copied(exitcode.OK, "--no-verify"); r.Verdict != nil {
		t.Errorf("%+v", r)
	}
}

// TestCodesOfReports holds with which code the commands end that leave a report for the
// operator, by its outcome.
func TestCodesOfReports(t *testing.T) {
	volume := t.TempDir()
	caches := []string{"--modcache", filepath.Join(volume, "mod"), "--buildcache", filepath.Join(volume, "build")}
	run := func(code int, into any, command string, args ...string) {
		t.Helper()
		log := filepath.Join(t.TempDir(), "log")
		out, errs, got := program(t, append(append([]string{command, "--termination-log", log}, caches...), args...)...)
		text, err := os.ReadFile(log)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if got != code || err != nil {
			t.Errorf("%s %v: code %d, %s%s%v", command, args, got, out, errs, err)
		}
	}
	var warmed warmup.Report
	run(exitcode.Failed, &warmed, "warm", "--expect-go", "1.1")
	if warmed.Outcome != warmup.Failed {
		t.Errorf("%+v", warmed)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m.test\n\ngo 1.21\n"), 0o600))
	module := `{"name":"m","dir":"` + dir + `","packages":["unsafe"],"builds":[{"name":"b"}]}` // of which little is compiled
	run(exitcode.OK, &warmed, "warm", "--source", module, "--stop-after", "10m")
	if warmed.Outcome != warmup.Succeeded || warmed.BuildEntries == 0 {
		t.Fatalf("%+v", warmed)
	}
	run(exitcode.Failed, &warmed, "warm", "--source", module, "--stop-after", "1ns")
	if warmed.Outcome != warmup.Failed {
		t.Errorf("a warm-up without any time: %+v", warmed)
	}
	var cleaned cleanup.Report
	run(exitcode.OK, &cleaned, "cleanup", "--max-size", "10Gi")
	if cleaned.Outcome != cleanup.Planned || cleaned.Plan == nil || cleaned.CapacityBytes == 0 {
		t.Fatalf("%+v", cleaned)
	}
	asOf := cleaned.Plan.AsOf.Format(time.RFC3339)
	run(exitcode.Failed, &cleaned, "cleanup", "--max-size", "10Gi", "--as-of", asOf, "--apply", "sha256:0")
	if cleaned.Outcome != cleanup.Changed {
		t.Errorf("%+v", cleaned)
	}
	run(exitcode.OK, &cleaned, "cleanup", "--max-age", "1h", "--as-of", asOf, "--umask", "0022")
	if cleaned.Outcome != cleanup.Planned || cleaned.Plan == nil || cleaned.Plan.AsOf.Format(time.RFC3339) != asOf {
		t.Errorf("%+v", cleaned)
	}
	run(exitcode.OK, &cleaned, "cleanup", "--max-size", "10Gi", "--as-of", asOf, "--apply", cleaned.Plan.Digest)
	if cleaned.Outcome != cleanup.Applied {
		t.Errorf("%+v", cleaned)
	}
}

// TestUsageOfAVolume holds that the space of a volume is printed.
func TestUsageOfAVolume(t *testing.T) {
	out, _, err := ended(t, "usage", "--dir", t.TempDir())
	var space struct{ CapacityBytes, TreeBytes int64 }
	if err != nil || json.Unmarshal([]byte(out), &space) != nil || space.CapacityBytes == 0 || space.TreeBytes == 0 {
		t.Errorf("%q, %v", out, err)
	}
}

// TestSizes holds each unit of a size, the largest one, and how it is shown.
func TestSizes(t *testing.T) {
	for text, want := range map[string]string{
		"1Ki": "1024", "1Mi": "1048576", "1Gi": "1073741824", "1Ti": "1099511627776", "1k": "1000", "1M": "1000000", "1G": "1000000000", "1T": "1000000000000",
		"0.5k": "500", "4611686018427387904": "4611686018427387904",
	} {
		var b bytesValue
		if err := b.Set(text); err != nil || b.String() != want || b.Type() != "size" {
			t.Errorf("%s is %s, %v", text, b.String(), err)
		}
	}
	for _, text := range []string{"4611686018427388928", "Inf", "5e6T", "1 Gi"} {
		var b bytesValue
		if err := b.Set(text); err == nil || !strings.Contains(err.Error(), "is no size such as 10Gi") {
			t.Errorf("%q accepted as %d, %v", text, b, err)
		}
	}
}
