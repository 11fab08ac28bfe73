package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/fetch"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/warmup"
)

// TestMain lets this program fetch in a process of its own, as the agent does.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "fetch" {
		os.Exit(m.Run())
	}
	o := fetch.Options{Stdout: os.Stdout}
	flags := flag.NewFlagSet("fetch", flag.ExitOnError)
	flags.StringVar(&o.URL, "url", "", "")
	flags.StringVar(&o.Dir, "dir", "", "")
	flags.Int64Var(&o.MaxBytes, "max-bytes", 0, "")
	flags.Int64Var(&o.MaxMemory, "max-memory", 0, "")
	err := flags.Parse(os.Args[2:])
	if err == nil {
		err = fetch.Run(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gocache-agent:", err)
		os.Exit(exitcode.Failed)
	}
	os.Exit(exitcode.OK)
}

// self is this program.
func self(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	must(t, err)
	return name
}

// repository serves a repository with files over http.
func repository(t *testing.T, content map[string]string) (url string) {
	t.Helper()
	return hostile(t, "", func(work string) error {
		var errs []error
		for name, text := range content {
			errs = append(errs, os.WriteFile(filepath.Join(work, name), []byte(text), 0o600))
		}
		return errors.Join(errs...)
	})
}

// TestBounds holds that a repository that needs more memory or disk than it may take fails,
// in a process of its own or not, and that one within the bounds is fetched.
func TestBounds(t *testing.T) {
	large, small := repository(t, map[string]string{"zeros": strings.Repeat("\x00", 96<<20)}), repository(t, map[string]string{"zeros": strings.Repeat("\x00", 3<<20)})
	const memory = 128 << 20
	for name, tt := range map[string]struct {
		options fetch.Options
		want    string // empty: it is fetched
	}{
		"memory":            {fetch.Options{URL: large, MaxMemory: memory, Self: self(t), ReportInDir: true}, "needs more memory than the fetch may take (64 MiB): raise the limit of memory"},
		"disk":              {fetch.Options{URL: small, MaxBytes: 2 << 20, Self: self(t), ReportInDir: true}, "the repository takes more than 2 MiB of disk"},
		"within both":       {fetch.Options{URL: small, MaxBytes: 32 << 20, MaxMemory: memory, Self: self(t), ReportInDir: true}, ""},
		"disk, here":        {fetch.Options{URL: small, MaxBytes: 2 << 20, ReportInDir: true}, "the repository takes more than 2 MiB of disk"},
		"disk, alone":       {fetch.Options{URL: small, MaxBytes: 2 << 20}, "the repository takes more than 2 MiB of disk"},
		"within it, here":   {fetch.Options{URL: small, MaxBytes: 32 << 20, ReportInDir: true}, ""},
		"without any bound": {fetch.Options{URL: small}, ""},
	} {
		if raced && name == "memory" {
			t.Logf("%s: not with the race detector", name)
			continue
		}
		var out bytes.Buffer
		o, reason := tt.options, ""
		o.Dir, o.Stdout = t.TempDir(), &out
		err := fetch.Run(t.Context(), o)
		if report, readErr := os.ReadFile(filepath.Join(o.Dir, warmup.FetchFailed)); readErr == nil {
			reason = string(report)
			if err != nil || !strings.HasPrefix(reason, "fetching "+o.URL+": ") || !strings.HasSuffix("\n"+out.String(), "\n"+reason) {
				t.Errorf("%s: %v, reported %q, printed %q", name, err, reason, &out)
			}
		} else if err != nil {
			reason = err.Error()
		}
		if (reason == "") != (tt.want == "") || !strings.Contains(reason, tt.want) {
			t.Errorf("%s: %q, want %q", name, reason, tt.want)
		}
		if info, err := os.Stat(filepath.Join(o.Dir, "zeros")); tt.want == "" && (err != nil || info.Size() != 3<<20) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestDiskOfAFetchThatHangs holds that the disk is looked at while a server sends, and not
// at the end alone.
func TestDiskOfAFetchThatHangs(t *testing.T) {
	dir, done := t.TempDir(), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(filepath.Join(dir, "written"), make([]byte, 2<<20), 0o600); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer server.Close()
	defer close(done)
	var out bytes.Buffer
	if err := fetch.Run(t.Context(), fetch.Options{URL: server.URL + "/x.git", Dir: dir, MaxBytes: 1 << 20, Stdout: &out}); err == nil || !strings.Contains(err.Error(), "takes more than 1 MiB of disk") {
		t.Errorf("%v", err)
	}
}

// TestEndOfTheProcess holds what is reported of a process that fetches, by how it ends and
// what it prints, and which command it is.
func TestEndOfTheProcess(t *testing.T) {
	const memory = "the repository needs more memory than the fetch may take"
	for name, tt := range map[string]struct {
		script  string // empty: there is no program
		timeout time.Duration
		memory  int64
		want    string // empty: it is fetched
	}{
		"it succeeds":            {"echo fetched", 0, 0, ""},
		"it names the cause":     {"echo 'gocache-agent: no such repository' >&2; exit 1", 0, 0, "no such repository"},
		"of several lines":       {"printf 'gocache-agent:  one\\ntwo\\n\\n' >&2; exit 1", 0, 0, "one\ntwo"},
		"on its output":          {"echo 'gocache-agent: no such repository'; exit 1", 0, 0, "the process that fetches ended with exit status 1: "},
		"other words":            {"printf '\\nsomething\\nelse' >&2; exit 1", 0, 0, "the process that fetches ended with exit status 1: something"},
		"wrong usage":            {"echo 'gocache-agent: no such flag' >&2; exit 2", 0, 0, "the process that fetches ended with exit status 2: gocache-agent: no such flag"},
		"the cause, other code":  {"echo 'gocache-agent: x' >&2; exit 3", 0, 0, "the process that fetches ended with exit status 3: gocache-agent: x"},
		"a panic":                {"echo 'panic: at the disco' >&2; exit 2", 0, 0, "the process that fetches ended with exit status 2: panic: at the disco"},
		"a crash":                {"echo 'fatal error: out of memory' >&2; exit 2", 0, 0, memory + ": raise the limit"},
		"a crash with a limit":   {"echo 'runtime: cannot allocate' >&2; exit 2", 0, 1 << 30, memory + " (960 MiB): raise the limit"},
		"it is killed":           {"kill -9 $$", 0, 0, memory + ": raise the limit"},
		"it hangs":               {"exec sleep 600", 300 * time.Millisecond, 0, "it took longer than 300ms"},
		"it fails within a time": {"echo 'gocache-agent: x' >&2; exit 1", time.Minute, 0, "x"},
		"there is none":          {"", 0, 0, "run this program again: "},
		"it prints much":         {"printf 'gocache-agent: x%16384sy' '' >&2; exit 1", 0, 0, "x"},
		"it prints a lot":        {"head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1", 0, 0, "the process that fetches ended with exit status 1: xxx"},
	} {
		dir, program := t.TempDir(), filepath.Join(t.TempDir(), "agent")
		if tt.script != "" {
			must(t, os.WriteFile(program, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700)) //nolint:gosec // is run
		}
		var out bytes.Buffer
		o := fetch.Options{URL: "http://git.test/x", Dir: dir, ReportInDir: true, Self: program, Timeout: tt.timeout, MaxMemory: tt.memory, Stdout: &out}
		if err := fetch.Run(t.Context(), o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		report, err := os.ReadFile(filepath.Join(dir, warmup.FetchFailed))
		if (err != nil) != (tt.want == "") || !strings.HasPrefix(string(report), "fetching http://git.test/x: "+tt.want) && err == nil {
			t.Errorf("%s: %q, %v, want %q", name, report, err, tt.want)
		}
		if name == "of several lines" || name == "it prints much" {
			if string(report) != "fetching http://git.test/x: "+tt.want+"\n" {
				t.Errorf("%s: %q", name, report)
			}
		}
		if name == "it succeeds" && out.String() != "fetched\n" {
			t.Errorf("printed %q", &out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	must(t, fetch.Run(ctx, fetch.Options{URL: "http://git.test/x", Dir: dir, ReportInDir: true, Self: self(t), Stdout: &bytes.Buffer{}}))
	if report, err := os.ReadFile(filepath.Join(dir, warmup.FetchFailed)); err != nil || !strings.Contains(string(report), "context canceled") {
		t.Errorf("a run that is ended: %q, %v", report, err)
	}
}

// TestCommandOfTheProcess holds which flags the process has: all that name what is fetched,
// and a part of the memory.
func TestCommandOfTheProcess(t *testing.T) {
	for memory, want := range map[int64]string{0: "", 1 << 30: "--max-memory 1006632960", 100 << 20: "--max-memory 52428800", 128 << 20: "--max-memory 67108864"} {
		dir, program := t.TempDir(), filepath.Join(t.TempDir(), "agent")
		must(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$*\"\n"), 0o700)) //nolint:gosec // is run
		var out bytes.Buffer
		must(t, fetch.Run(t.Context(), fetch.Options{
			URL: "u", Ref: "r", Commit: "c", Dir: dir, Secret: "s", CAFile: "f", Sparse: []string{"a", "b"}, Submodules: true, MaxBytes: 7, MaxMemory: memory, Timeout: time.Minute,
			ReportInDir: true, Self: program, Stdout: &out,
		}))
		want = strings.TrimSpace("fetch --url u --commit c --dir " + dir + " --ref r --secret s --ca-file f --sparse a --sparse b --submodules --max-bytes 7 " + want)
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("%d bytes: %s\nwant %s", memory, got, want)
		}
	}
}

// TestDirectories holds which directories are written to, and that a report which cannot be
// left is an error.
func TestDirectories(t *testing.T) {
	url, top := repository(t, map[string]string{"a.go": "package a\n"}), t.TempDir()
	file := filepath.Join(top, "file")
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	var out bytes.Buffer
	o := fetch.Options{URL: url, Dir: file, Stdout: &out}
	if err := fetch.Run(t.Context(), o); err == nil || strings.Contains(err.Error(), "is not empty") || out.Len() > 0 {
		t.Errorf("a file: %v, printed %q", err, &out)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	for _, dir := range []string{file, filepath.Join(file, "x")} {
		o.ReportInDir, o.Dir = true, dir
		if err := fetch.Run(t.Context(), o); err == nil {
			t.Errorf("%s: the report is in no directory, and no error", dir)
		}
	}
	o.ReportInDir, o.Dir = false, filepath.Join(top, "new", "one")
	out.Reset()
	if err := fetch.Run(t.Context(), o); err != nil || strings.Count(out.String(), "\n") != 1 || !strings.HasPrefix(out.String(), "checked out commit ") {
		t.Errorf("a new directory: %v, printed %q", err, &out)
	}
	o.Dir, o.Stdout = t.TempDir(), closed{}
	if err := fetch.Run(t.Context(), o); !errors.Is(err, errClosed) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	// Much is left by a fetch that was ended.
	full := t.TempDir()
	for i := range 2500 {
		must(t, os.WriteFile(filepath.Join(full, fmt.Sprint(i)), nil, 0o600))
	}
	must(t, fetch.Run(t.Context(), fetch.Options{URL: url, Dir: full, ReportInDir: true, Stdout: &out}))
	if left, err := os.ReadDir(full); err != nil || len(left) != 1 || left[0].Name() != warmup.FetchFailed {
		t.Errorf("%d entries are left, %v", len(left), err)
	}
}

// closed is an output that takes nothing.
type closed struct{}

var errClosed = errors.New("the output is closed")

func (closed) Write([]byte) (int, error) { return 0, errClosed }

// TestTrust holds that a server is trusted by the file of the spec, and that credentials and
// files which cannot be read are errors.
func TestTrust(t *testing.T) {
	url, _, ca := secure(t, "", "")
	file := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(file, ca, 0o600))
	large := t.TempDir()
	must(t, os.WriteFile(filepath.Join(large, "ca.crt"), make([]byte, 1<<20+1), 0o600))
	directory := t.TempDir()
	must(t, os.Mkdir(filepath.Join(directory, "password"), 0o700))
	for name, tt := range map[string]struct{ secret, ca, want string }{
		"an authority":              {"", file, ""},
		"no authority":              {"", "", "certificate"},
		"no such file":              {"", file + ".none", "reading the trusted CA: "},
		"a large one in the Secret": {large, "", "not a regular file of at most"},
		"a password that is none":   {directory, "", "not a regular file of at most"},
	} {
		err := fetch.Run(t.Context(), fetch.Options{URL: url, Dir: t.TempDir(), Secret: tt.secret, CAFile: tt.ca, Stdout: &bytes.Buffer{}})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
