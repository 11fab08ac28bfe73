package vcs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/vcs"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/loopback"
)

// fake is a Server whose go command is a script. It runs in a home directory, with the
// directory that was made for it in $SEEN, where its calls are.
type fake struct {
	*vcs.Server
	t    *testing.T
	seen string
	log  *bytes.Buffer
}

// newFake starts one without access to anything.
func newFake(t *testing.T, script string, change func(*vcs.Options)) *fake {
	t.Helper()
	f := &fake{t: t, seen: t.TempDir(), log: &bytes.Buffer{}}
	command := filepath.Join(t.TempDir(), "go")
	text := "#!/bin/sh\nSEEN='" + f.seen + "'\necho \"$*\" >>\"$SEEN/calls\"\ncp .gitconfig ca.crt \"$SEEN\"\n" + script + "\n"
	must(t, os.WriteFile(command, []byte(text), 0o700)) //nolint:gosec // is run
	o := vcs.Options{
		Dir: filepath.Join(t.TempDir(), "vcs"), Patterns: "git.test", Self: "/agent", GoCommand: command, Timeout: time.Minute, LookupEnv: os.LookupEnv,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	s, err := vcs.New(o)
	must(t, err)
	f.Server = s
	return f
}

// calls are those of the go command since the last time.
func (f *fake) calls() string {
	f.t.Helper()
	name := filepath.Join(f.seen, "calls")
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	must(f.t, errors.Join(err, os.Remove(name)))
	return string(text)
}

// read is a file that the go command had.
func (f *fake) read(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.seen, name))
	must(f.t, err)
	return string(text)
}

// TestExplain holds which errors of the go command mean that something is not there or may
// not be read, that all others are trouble, and what of their texts is shown.
func TestExplain(t *testing.T) {
	const latest = "/git.test/m/@latest"
	long := func(n int, end string) string { return strings.Repeat("x", n-len(end)) + end }
	for name, tt := range map[string]struct {
		script string
		status int
		want   string // the whole text
	}{
		"nothing":               {"exit 1", 502, "version control: "},
		"trouble":               {"echo 'go: connection reset' >&2; exit 1", 502, "version control: connection reset"},
		"on its output":         {"echo 'unknown revision v1'; exit 1", 502, "version control: "},
		"as JSON":               {`echo '{"Error":"unknown revision v1"}'; echo other >&2; exit 1`, 404, "not found: unknown revision v1"},
		"as JSON without error": {`echo '{}'; echo other >&2; exit 1`, 502, "version control: other"},
		"absent":                {"echo 'UNKNOWN revision v1' >&2; exit 1", 404, "not found: UNKNOWN revision v1"},
		"refused":               {"echo 'fatal: Authentication failed' >&2; exit 1", 403, "version control: fatal: Authentication failed"},
		"both":                  {"echo 'unknown revision: 403 Forbidden' >&2; exit 1", 403, "version control: unknown revision: 403 Forbidden"},
		"progress": {"printf 'go: downloading git.test/m v1\\n\\n  go: a \\ngo: finding x\\n\\tConfirm the import path was entered correctly.\\nb\\n' >&2; exit 1", 502,
			"version control: go: a\nb"},
		"directories": {`echo "at $HOME/x of $GOMODCACHE/cache/vcs/0af: $GOMODCACHE/y" >&2; exit 1`, 502, "version control: at /x of /mod/cache/vcs/0af: /mod/y"},
		"a newer release": {"echo 'git.test/m requires go >= 1.99 (running go 1.26)' >&2; exit 1", 502,
			"version control: git.test/m requires go >= 1.99 (running go 1.26): name an image with a newer Go release in spec.privateModules.versionControl.image"},
		"a long one":            {"echo '" + long(2048, " unknown revision") + "' >&2; exit 1", 404, "not found: " + long(2048, " unknown revision")},
		"a longer one":          {"echo '" + long(2048, "") + "y' >&2; exit 1", 502, "version control: " + long(2048, "") + "…"},
		"a letter at the bound": {"echo '" + long(2047, "") + "ä' >&2; exit 1", 502, "version control: " + long(2047, "") + "…"},
		"at the bound":          {"printf '%65520sunknown revision' '' >&2; exit 1", 404, "not found: unknown revision"},
		"beyond the bound":      {"printf '%65521sunknown revision' '' >&2; exit 1", 502, "version control: unknown revisio"},
		"no JSON":               {"echo x", 502, "the go command gave a version that cannot be read"},
		"no version":            {"echo '{}'", 502, "the go command gave a version that cannot be read"},
		"no file":               {`echo '{"Version":"v1.0.0"}'`, 503, "the files of git.test/m@v1.0.0 were removed while they were fetched, to free disk space; try again"},
	} {
		f := newFake(t, tt.script, nil)
		if status, text := get(t, f, latest); status != tt.status || text != tt.want+"\n" {
			t.Errorf("%s: %d %q, want %d %q", name, status, text, tt.status, tt.want)
		}
	}
	f := newFake(t, "", func(o *vcs.Options) { o.GoCommand += ".none" })
	answers(t, f, latest, 500, "choose an image with go and git (spec.privateModules.versionControl.image)")
	f = newFake(t, "head -c 16777216 /dev/zero", nil)
	answers(t, f, "/git.test/m/@v/list", 502, "the go command gave a list that cannot be read")
	f = newFake(t, "head -c 16777217 /dev/zero; sleep 600", nil)
	answers(t, f, "/git.test/m/@v/list", 502, "the repository has more versions than can be listed")
	f = newFake(t, "sleep 600", func(o *vcs.Options) { o.Timeout = 200 * time.Millisecond })
	answers(t, f, latest, 504, "fetching from version control took longer than 200ms")
}

// TestAnswers holds what the go command is asked for each path, and what becomes of its
// answer.
func TestAnswers(t *testing.T) {
	const info, mod, zip = "INFO", "MOD", "ZIP"
	has := func(version string) string {
		at := `"$GOMODCACHE/cache/download/git.test/m/@v"`
		return "mkdir -p " + at + " \"$GOMODCACHE/git.test/m@v1.0.0/x\"; for k in info mod zip; do printf \"$k\" | tr a-z A-Z >" + at + "/" + version + ".$k; done; echo '{\"Version\":\"" + version + "\"}'"
	}
	for path, tt := range map[string]struct {
		script string
		status int
		want   string
		calls  string
	}{
		"/git.test/m/@latest":        {has("v1.0.0"), 200, info, "list -m -json=Version git.test/m@latest\n"},
		"/git.test/m/@v/main.info":   {has("v1.0.0"), 200, info, "list -m -json=Version git.test/m@main\n"},
		"/git.test/m/@v/v1.info":     {has("v1.0.0"), 200, info, "list -m -json=Version git.test/m@v1\n"},
		"/git.test/m/@v/v1.0.0.info": {has("v1.0.0"), 200, info, "list -m -json=Version git.test/m@v1.0.0\n"},
		"/git.test/m/@v/v1.0.0.mod":  {has("v1.0.0"), 200, mod, "list -m -json=Version git.test/m@v1.0.0\n"},
		"/git.test/m/@v/v1.0.0.zip":  {has("v1.0.0"), 200, zip, "mod download -json git.test/m@v1.0.0\n"},
		"/git.test/m/@v/v1.1.0.mod":  {has("v1.0.0"), 404, "not found: git.test/m@v1.1.0: the version is v1.0.0\n", "list -m -json=Version git.test/m@v1.1.0\n"},
		"/git.test/!m/@v/v1.0.0.zip": {"exit 0", 503, "the files of git.test/M@v1.0.0 were removed while they were fetched, to free disk space; try again\n", "mod download -json git.test/M@v1.0.0\n"},
		"/git.test/m/@v/list":        {`echo '{"Versions":["v1.0.0","v1.1.0-rc.1","branch","v1.1.1-0.20260102030405-0123456789ab"]}'`, 200, "v1.0.0\nv1.1.0-rc.1\n", "list -m -json=Versions -versions -retracted git.test/m@latest\n"},
		"/git.test/m/none/@v/list":   {"echo '{}'", 200, "", "list -m -json=Versions -versions -retracted git.test/m/none@latest\n"},
		"/git.test/m/@tags":          {"echo '{}'", 404, "not found: the go command names no git repository of git.test/m\n", "list -m -json=Origin git.test/m@latest\n"},
		"/git.test/m/1/@tags":        {`echo '{"Origin":{"VCS":"hg","URL":"https://git.test/m"}}'`, 404, "not found: the go command names no git repository of git.test/m/1\n", "list -m -json=Origin git.test/m/1@latest\n"},
		"/git.test/m/2/@tags":        {`echo '{"Origin":{"VCS":"git"}}'`, 404, "not found: the go command names no git repository of git.test/m/2\n", "list -m -json=Origin git.test/m/2@latest\n"},
		"/git.test/m/3/@tags":        {"echo x", 404, "not found: the go command names no git repository of git.test/m/3\n", "list -m -json=Origin git.test/m/3@latest\n"},
		"/git.test/m/4/@tags":        {"echo unknown revision >&2; exit 1", 404, "not found: unknown revision\n", "list -m -json=Origin git.test/m/4@latest\n"},
		"/git.test/m/5/@tags":        {`echo '{"Origin":{"VCS":"git","URL":"file:///none"}}'`, 403, "version control: fatal: transport 'file' not allowed\n", "list -m -json=Origin git.test/m/5@latest\n"},
		"/git.test/M/@latest":        {"exit 0", 404, "", ""},
		"/git.test/m/@v/v1.mod":      {"exit 0", 404, "not found: unrecognized version\n", ""},
		"/git.test/m/@v/main.zip":    {"exit 0", 404, "not found: unrecognized version\n", ""},
		"/git.test/m/@v/v2.0.0.zip":  {"exit 0", 404, "not found: unrecognized version\n", ""},
		"/git.test/m/@v/V1.0.0.info": {"exit 0", 404, "", ""},
		"/git.test/m/@v/v1.0.0.lock": {"exit 0", 404, "not found: not a path of the GOPROXY protocol\n", ""},
		"/git.test/m/@v/v1.0.0":      {"exit 0", 404, "not found: not a path of the GOPROXY protocol\n", ""},
		"/git.test/m/@w/v1.0.0.info": {"exit 0", 404, "not found: not a path of the GOPROXY protocol\n", ""},
		"/git.test/m/@v/x/../list":   {"exit 0", 404, "not found: not a path of the GOPROXY protocol\n", ""},
		"/git.test/m":                {"exit 0", 404, "not found: not a path of the GOPROXY protocol\n", ""},
		"/x.test/m/@latest":          {"exit 0", 404, "not found: x.test/m is not fetched from version control\n", ""},
		"/x.test/m/@tags":            {"exit 0", 404, "not found: not a module that is fetched from version control\n", ""},
		"/git.test/M/@tags":          {"exit 0", 404, "not found: not a module that is fetched from version control\n", ""},
		"/healthz":                   {"exit 1", 200, "ok\n", ""},
	} {
		f := newFake(t, tt.script, nil)
		status, text := get(t, f, path)
		if calls := f.calls(); status != tt.status || tt.want != "" && text != tt.want || calls != tt.calls {
			t.Errorf("%s: %d %q after %q, want %d %q after %q", path, status, text, calls, tt.status, tt.want, tt.calls)
		}
		if tt.status != 200 {
			continue
		}
		// What is known of a version is not asked for again.
		status, text = get(t, f, path)
		calls := f.calls()
		if again := strings.Contains(path, "/v1.0.0."); status != 200 || tt.want != text || (calls == "") != (again || tt.calls == "") {
			t.Errorf("%s again: %d %q after %q", path, status, text, calls)
		}
		if strings.HasSuffix(path, ".zip") {
			if left, err := filepath.Glob(filepath.Join(f.Dir, "mod", "git.test", "*")); err != nil || len(left) > 0 {
				t.Errorf("%s: the module stays extracted: %q, %v", path, left, err)
			}
		}
		if left, err := filepath.Glob(filepath.Join(f.Dir, "run-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: commands leave %q, %v", path, left, err)
		}
	}
}

// TestMethods holds which requests are answered, and how an error is sent.
func TestMethods(t *testing.T) {
	f := newFake(t, "exit 1", nil)
	for method, want := range map[string]int{http.MethodGet: 502, http.MethodHead: 502, http.MethodPost: 405, http.MethodDelete: 405} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/git.test/m/@latest", http.NoBody))
		if w.Code != want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d, %v", method, w.Code, w.Header())
		}
	}
	if log := f.log.String(); strings.Count(log, "msg=Served") != 4 || strings.Count(log, "status=405") != 2 {
		t.Errorf("logged:\n%s", log)
	}
}

// TestSettings holds which settings git has, which servers https URLs lead to by ssh, and
// which authorities are trusted.
func TestSettings(t *testing.T) {
	key, identity, err := gitserver.Key()
	must(t, err)
	of := func(name string) string { return string(gitserver.KnownHost(name, key.PublicKey(), false)) }
	line := strings.TrimSpace(strings.TrimPrefix(of("x.test:22"), "x.test "))
	known := "# of.test " + line + "\n\n@cert-authority ca.test " + line + "\n*.wild.test " + line + "\n" +
		of("twice.test:2222") + of("twice.test:22") + "first.test,alias.test " + line + "\n" + of("other.test:22") + of("[::1]:2222") + string(gitserver.KnownHost("hashed.test:22", key.PublicKey(), true))
	login := func(keys map[string]string) string { return secret(t, keys) }
	const hosts = "of.test *.test unknown.example hashed.test [::1]:2222 first.test"
	ways := func(f *fake) (all []string) {
		for text := range strings.Lines(f.read(".gitconfig")) {
			if name, ok := strings.CutPrefix(text, "[url \"ssh://git@"); ok {
				all = append(all, strings.TrimSuffix(name, "/\"]\n"))
			}
			if name, ok := strings.CutPrefix(text, "\tinsteadOf = https://"); ok {
				all[len(all)-1] += " for " + strings.TrimSuffix(name, "/\n")
			}
		}
		return all
	}
	want := "twice.test:2222 for twice.test, first.test:22 for first.test, alias.test:22 for alias.test, other.test:22 for other.test, [::1]:2222 for [::1], hashed.test:22 for hashed.test"
	for name, tt := range map[string]struct {
		access vcs.Access
		want   string
	}{
		"an identity":  {vcs.Access{Secret: login(map[string]string{"identity": string(identity), "known_hosts": known}), Hosts: hosts}, want},
		"no identity":  {vcs.Access{Secret: login(map[string]string{"known_hosts": known}), Hosts: hosts}, ""},
		"another port": {vcs.Access{Secret: login(map[string]string{"identity": string(identity), "known_hosts": known}), Hosts: "twice.test:22 other.test:2222"}, "twice.test:22 for twice.test"},
		"no list":      {vcs.Access{Secret: login(map[string]string{"identity": string(identity), "known_hosts": known}), Hosts: "https://x.test"}, ""},
		"no Secret":    {vcs.Access{Hosts: hosts}, ""},
	} {
		f := newFake(t, "exit 1", func(o *vcs.Options) { o.Access = tt.access })
		answers(t, f, "/git.test/m/@latest", 502, "")
		if got := strings.Join(ways(f), ", "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if text := f.read(".gitconfig"); !strings.Contains(text, "helper = \"!'/agent' vcs-help git\"") || !strings.Contains(text, "sslCAInfo = "+f.Dir+"/run-") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestTrust holds which authorities servers are trusted by beside the public ones, and that
// a file that cannot be read is logged.
func TestTrust(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(file, []byte("of the spec\n"), 0o600))
	withCA, without := secret(t, map[string]string{"ca.crt": "of the Secret\n"}), t.TempDir()
	unreadable := t.TempDir()
	must(t, os.Mkdir(filepath.Join(unreadable, "ca.crt"), 0o700))
	for name, tt := range map[string]struct {
		secret, file string
		want         string
		warns        bool
	}{
		"none":              {"", "", "", false},
		"of the spec":       {"", file, "of the spec\n", false},
		"of the Secret":     {withCA, file, "of the Secret\n", false},
		"of an empty one":   {without, file, "", false},
		"no file":           {"", file + ".none", "", true},
		"an unreadable one": {unreadable, "", "", true},
	} {
		f := newFake(t, "exit 1", func(o *vcs.Options) { o.Access.Secret, o.CAFile = tt.secret, tt.file })
		answers(t, f, "/git.test/m/@latest", 502, "")
		public := newFake(t, "exit 1", nil)
		answers(t, public, "/git.test/m/@latest", 502, "")
		if got := strings.TrimPrefix(f.read("ca.crt"), public.read("ca.crt")); got != tt.want {
			t.Errorf("%s: %.100q, want %q", name, got, tt.want)
		}
		if warns := strings.Contains(f.log.String(), "Trusting the public authorities alone"); warns != tt.warns {
			t.Errorf("%s: logged %s", name, f.log)
		}
	}
}

// TestSlots holds that a client which waits for a command longer than it can is refused, and
// that the next command runs when one has ended.
func TestSlots(t *testing.T) {
	f := newFake(t, `touch "$SEEN/began"; while [ ! -e "$SEEN/go" ]; do sleep 0.02; done; exit 1`, func(o *vcs.Options) { o.MaxFetches = 1 })
	first := make(chan string)
	go func() {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/git.test/m/@latest", http.NoBody))
		first <- fmt.Sprint(w.Code)
	}()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(f.seen, "began")); err == nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/git.test/m/@latest", http.NoBody))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "as many repositories are fetched as may be; try again") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	must(t, os.WriteFile(filepath.Join(f.seen, "go"), nil, 0o600))
	if got := <-first; got != "502" {
		t.Errorf("the first: %s", got)
	}
	answers(t, f, "/git.test/m/@latest", 502, "version control: ")
}

// TestDisk holds that a command that fills the disk is ended, that the directory is emptied
// when no command runs and more than half of the limit is used, and not before.
func TestDisk(t *testing.T) {
	const limit = 4 << 20
	write := func(n int) string {
		return fmt.Sprintf(`mkdir -p "$GOMODCACHE"; head -c %d /dev/zero >"$GOMODCACHE/file"; `, n)
	}
	for name, tt := range map[string]struct {
		script string
		status int
		want   string
		stays  bool // after another command
	}{
		"full":           {write(limit+1) + "sleep 600", 502, "the repositories that are fetched take more than 4 MiB of disk space", false},
		"more than half": {write(limit/2+1) + "exit 1", 502, "version control: ", false},
		"less than half": {write(limit/2-256<<10) + "exit 1", 502, "version control: ", true},
	} {
		f := newFake(t, `if [ -e "$SEEN/again" ]; then exit 1; fi; touch "$SEEN/again"; `+tt.script, func(o *vcs.Options) { o.MaxBytes = limit })
		answers(t, f, "/git.test/m/@latest", tt.status, tt.want)
		file := filepath.Join(f.Dir, "mod", "file")
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: after the command: %v", name, err)
		}
		answers(t, f, "/git.test/m/@latest", 502, "version control: ")
		if _, err := os.Stat(file); (err == nil) != tt.stays {
			t.Errorf("%s: after another one: %v", name, err)
		}
	}
}

// TestNew holds the defaults, that the directory is empty at the start, and what a server is
// not made with.
func TestNew(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "mod", "x"), 0o700))
	s, err := vcs.New(vcs.Options{Dir: dir, Patterns: "git.test"})
	must(t, err)
	if s.GoCommand != "go" || s.MaxBytes != 8<<30 || s.MaxMemory != 1<<30 || s.MaxFetches != 8 || s.Timeout != 9*time.Minute {
		t.Errorf("%+v", s.Options)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := vcs.New(vcs.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "no patterns of module paths") {
		t.Errorf("no patterns: %v", err)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := vcs.New(vcs.Options{Dir: file, Patterns: "git.test"}); err == nil || !strings.HasPrefix(err.Error(), "empty "+file) {
		t.Errorf("a file: %v", err)
	}
}

// TestServe holds that a server answers until its context ends, which is no error, and that
// an address that is lost is one.
func TestServe(t *testing.T) {
	f := newFake(t, "exit 1", nil)
	listen := func() net.Listener {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		return l
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, l := make(chan error, 1), listen()
	go func() { ended <- f.Serve(ctx, l) }()
	if code, text := loopback.Page(t, http.DefaultClient, "http://"+l.Addr().String()+"/healthz", loopback.Any); code != 200 || text != "ok\n" {
		t.Errorf("%d %s", code, text)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
	l = listen()
	must(t, l.Close())
	if err := f.Serve(t.Context(), l); err == nil || !strings.HasPrefix(err.Error(), "serve: ") {
		t.Errorf("a closed address: %v", err)
	}
}
