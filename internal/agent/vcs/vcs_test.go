package vcs_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/vcs"
	"gocache.dev/operator/internal/testing/gitserver"
)

// TestMain lets git and the go command call this program for help.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == vcs.HelpCommand {
		code, err := vcs.Help(context.Background(), os.Args[2:], vcs.Process{Getenv: os.Getenv, Now: time.Now, In: os.Stdin, Out: os.Stdout, Errors: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a server with a page for modules and repositories behind it, at a name
// of its own.
type site struct {
	name    string
	server  *httptest.Server
	ca      []byte
	mu      sync.Mutex
	pages   map[string]string // path → content of the go-import tag
	logins  []string          // what was sent as Authorization
	handler map[string]http.Handler
}

// newSite serves https with an authority of its own.
func newSite(t *testing.T, name string) *site {
	t.Helper()
	s := &site{name: name, pages: map[string]string{}, handler: map[string]http.Handler{}}
	certificate, ca, err := gitserver.Certificate(name)
	must(t, err)
	s.ca = ca
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if login := r.Header.Get("Authorization"); login != "" {
		s.logins = append(s.logins, r.URL.Path+" "+login)
	}
	tag, ok := s.pages[r.URL.Path]
	var handler http.Handler
	for prefix, h := range s.handler {
		if strings.HasPrefix(r.URL.Path, prefix+"/") {
			handler = http.StripPrefix(prefix, h)
		}
	}
	s.mu.Unlock()
	switch {
	case handler != nil:
		handler.ServeHTTP(w, r)
	case ok:
		fmt.Fprintf(w, `<html><head><meta name="go-import" content="%s"></head></html>`, tag)
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}

func (s *site) page(path, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = tag
}

func (s *site) handle(prefix string, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler[prefix] = h
}

// sent returns what the server got as Authorization so far.
func (s *site) sent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.logins, "\n")
}

// repository with a module git.test/m, a nested one and a branch. Its server is at
// prefix of the site, for one user.
func (s *site) repository(t *testing.T, prefix, modulePath, user, password string) *gitserver.Repository {
	t.Helper()
	r, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	h, err := r.Handler(t.Context(), user, password)
	must(t, err)
	s.handle(prefix, h)
	if modulePath != "" {
		s.page("/"+strings.SplitN(modulePath, "/", 2)[1], modulePath+" git https://"+s.name+prefix+"/program.git")
	}
	return r
}

func commit(t *testing.T, r *gitserver.Repository, files map[string]string, tags ...string) string {
	t.Helper()
	hash, err := r.Commit(t.Context(), files)
	must(t, err)
	for _, tag := range tags {
		_, err := r.InWork(t.Context(), "tag", "--force", tag)
		must(t, err)
		_, err = r.InWork(t.Context(), "push", "--quiet", "--force", "origin", "refs/tags/"+tag)
		must(t, err)
	}
	return hash
}

// reach is an environment in which the names of sites lead to their servers.
func reach(t *testing.T, sites ...*site) func(string) (string, bool) {
	t.Helper()
	addresses := map[string]string{}
	for _, s := range sites {
		addresses[s.name+":443"] = s.server.Listener.Addr().String()
	}
	tunnel := httptest.NewServer(gitserver.Tunnel(addresses))
	t.Cleanup(tunnel.Close)
	return func(name string) (string, bool) {
		switch name {
		case "HTTPS_PROXY", "https_proxy":
			return tunnel.URL, true
		case "PATH":
			return os.LookupEnv(name)
		}
		return "", false
	}
}

// secret is a mounted Secret.
func secret(t *testing.T, keys map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for key, value := range keys {
		must(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	return dir
}

// start starts a server that trusts the sites: by its Secret, or if it has none by a
// file.
func start(t *testing.T, access vcs.Access, change func(*vcs.Options), sites ...*site) *vcs.Server {
	t.Helper()
	var ca []byte
	for _, s := range sites {
		ca = append(ca, s.ca...)
	}
	dir := access.Secret
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, "ca.crt")
	must(t, os.WriteFile(file, ca, 0o600))
	self, err := os.Executable()
	must(t, err)
	o := vcs.Options{
		Dir: filepath.Join(t.TempDir(), "vcs"), Patterns: "git.test,old.test,evil.test", Access: access, CAFile: file, Self: self, Timeout: 2 * time.Minute, LookupEnv: reach(t, sites...), Now: time.Now,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	s, err := vcs.New(o)
	must(t, err)
	return s
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	body, err := io.ReadAll(w.Body)
	must(t, err)
	return w.Code, string(body)
}

// answers compares status and a part of the text.
func answers(t *testing.T, h http.Handler, path string, status int, part string) string {
	t.Helper()
	code, text := get(t, h, path)
	if code != status || !strings.Contains(text, part) {
		t.Errorf("GET %s: %d %q, want %d and %q", path, code, text, status, part)
	}
	return text
}

// TestModules holds that versions, nested modules, versions without go.mod,
// branches, commits and lists are served, and what is not there is 404.
func TestModules(t *testing.T) {
	t.Parallel()
	git, old := newSite(t, "git.test"), newSite(t, "old.test")
	r := git.repository(t, "/repo", "git.test/m", "ci", "s3cret")
	git.page("/m/sub", "git.test/m git https://git.test/repo/program.git")
	git.page("/m/none", "git.test/m git https://git.test/repo/program.git")
	git.page("/", "git.test/m git https://git.test/repo/program.git") // a page of another prefix
	commit(t, r, map[string]string{"go.mod": "module git.test/m\n\ngo 1.99\n", "m.go": "package m\n", "sub/go.mod": "module git.test/m/sub\n", "sub/s.go": "package sub\n"}, "v1.0.0", "sub/v0.1.0")
	commit(t, r, map[string]string{"go.mod": "module git.test/m\n\nretract v1.0.0\n"}, "v1.1.0")
	head := commit(t, r, map[string]string{"m.go": "package m // later\n"})
	o := old.repository(t, "/repo", "old.test/m", "", "")
	commit(t, o, map[string]string{"m.go": "package m\n"}, "v2.3.0")

	s := start(t, vcs.Access{Secret: secret(t, map[string]string{"username": "ci\n", "password": "s3cret\n"}), Hosts: "git.test"}, nil, git, old)
	answers(t, s, "/git.test/m/@v/list", 200, "v1.0.0\nv1.1.0\n") // a proxy lists what is retracted, too
	answers(t, s, "/git.test/m/@latest", 200, `"Version":"v1.1.0"`)
	answers(t, s, "/git.test/m/@v/v1.0.0.info", 200, `"Version":"v1.0.0"`)
	answers(t, s, "/git.test/m/@v/v1.0.0.mod", 200, "module git.test/m\n\ngo 1.99\n")
	if zip := answers(t, s, "/git.test/m/@v/v1.1.0.zip", 200, "git.test/m@v1.1.0/m.go"); strings.Contains(zip, "sub/s.go") {
		t.Error("the archive has the nested module")
	}
	// The go command does not pack what is for a newer one.
	answers(t, s, "/git.test/m/@v/v1.0.0.zip", 502, "name an image with a newer Go release")
	answers(t, s, "/git.test/m/sub/@v/list", 200, "v0.1.0\n")
	answers(t, s, "/git.test/m/sub/@v/v0.1.0.zip", 200, "git.test/m/sub@v0.1.0/s.go")
	branch := answers(t, s, "/git.test/m/@v/main.info", 200, `"Version":"v1.1.1-0.`)
	if at := answers(t, s, "/git.test/m/@v/"+head[:12]+".info", 200, head); at != branch {
		t.Errorf("the commit is %s, the branch %s", at, branch)
	}
	version := strings.Split(strings.SplitN(branch, `"Version":"`, 2)[1], `"`)[0]
	answers(t, s, "/git.test/m/@v/"+version+".zip", 200, "git.test/m@"+version+"/m.go")
	answers(t, s, "/old.test/m/@v/list", 200, "v2.3.0+incompatible\n")
	answers(t, s, "/old.test/m/@v/v2.3.0.info", 200, `"Version":"v2.3.0+incompatible"`)
	answers(t, s, "/old.test/m/@v/v2.3.0+incompatible.mod", 200, "module old.test/m\n")
	answers(t, s, "/old.test/m/@v/v2.3.0+incompatible.zip", 200, "old.test/m@v2.3.0+incompatible/m.go")

	for _, path := range []string{
		"/git.test/m/@v/v1.9.0.info", "/git.test/m/@v/v1.9.0.mod", "/git.test/m/@v/v1.9.0.zip", "/git.test/m/@v/nobranch.info", "/git.test/m/none/@latest",
		"/git.test/m/none/@v/list", "/git.test/absent/@v/list", "/git.test/absent/@v/v1.0.0.zip", "/git.test/@v/list", "/git.test/m/v2/@v/list", "/git.test/m/v2/@latest",
		"/other.test/m/@v/list", "/git.test/m/@v/v1.0.0.mod.bak", "/git.test/m/@v/v2.0.0.mod", "/git.test/m", "/git.test/../m/@v/list", "/@v/list",
	} {
		answers(t, s, path, 404, "not found: ")
	}
	git.server.CloseClientConnections()
	git.server.Close()
	if code, text := get(t, s, "/git.test/m/@v/list"); code != 502 {
		t.Errorf("a server that is down: %d %s, want 502", code, text)
	}
	answers(t, s, "/git.test/m/@v/v1.1.0.zip", 200, "git.test/m@v1.1.0/m.go") // it has that
	if left, err := filepath.Glob(filepath.Join(s.Dir, "run-*")); err != nil || len(left) > 0 {
		t.Errorf("commands leave %q, %v", left, err)
	}
}

// TestTags holds that the commits of tags are those of now, also of annotated tags and of
// tags that were moved, and that only modules of the patterns are answered for.
func TestTags(t *testing.T) {
	t.Parallel()
	git := newSite(t, "git.test")
	r := git.repository(t, "/repo", "git.test/m", "ci", "s3cret")
	first := commit(t, r, map[string]string{"go.mod": "module git.test/m\n", "m.go": "package m\n"}, "v1.0.0", "v1.1.0")
	for _, tag := range []string{"v0.9.0", "v1.2.0"} { // the first of all, and the last
		_, err := r.InWork(t.Context(), "tag", "--annotate", "--message", "m", tag)
		must(t, err)
		_, err = r.InWork(t.Context(), "push", "--quiet", "origin", "refs/tags/"+tag)
		must(t, err)
	}
	s := start(t, vcs.Access{Secret: secret(t, map[string]string{"username": "ci", "password": "s3cret"}), Hosts: "git.test"}, nil, git)
	want := func(old string) string {
		return first + " refs/tags/v0.9.0\n" + old + " refs/tags/v1.0.0\n" + first + " refs/tags/v1.1.0\n" + first + " refs/tags/v1.2.0\n"
	}
	if text := answers(t, s, "/git.test/m/@tags", 200, ""); text != want(first) {
		t.Errorf("%q", text)
	}
	answers(t, s, "/git.test/m/@v/v1.0.0.info", 200, `"Hash":"`+first+`","Ref":"refs/tags/v1.0.0"`)
	second := commit(t, r, map[string]string{"m.go": "package m // moved\n"}, "v1.0.0")
	if text := answers(t, s, "/git.test/m/@tags", 200, ""); text != want(second) {
		t.Errorf("after a move: %q", text)
	}
	for _, path := range []string{"/other.test/m/@tags", "/git.test/none/@tags", "/git.test/M/@tags", "/@tags"} {
		answers(t, s, path, 404, "not found: ")
	}
}

// TestCredentials holds where credentials go: to hosts that the Secret lists, over
// https, and nowhere else. What is refused is 403, with the reason.
func TestCredentials(t *testing.T) {
	t.Parallel()
	git, evil := newSite(t, "git.test"), newSite(t, "evil.test")
	r := git.repository(t, "/repo", "git.test/m", "ci", "s3cret")
	commit(t, r, map[string]string{"go.mod": "module git.test/m\n"}, "v1.0.0")
	// A page at another host leads to this repository, and one here to another host.
	evil.page("/m", "evil.test/m git https://git.test/repo/program.git")
	evil.handle("/steal", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	git.page("/away", "git.test/away git https://evil.test/steal/program.git")
	git.handle("/moved", http.RedirectHandler("https://evil.test/steal/program.git/info/refs?service=git-upload-pack", http.StatusFound))
	git.page("/moved", "git.test/moved git https://git.test/moved/program.git")
	for name, keys := range map[string]map[string]string{
		"password": {"username": "ci", "password": "s3cret"},
		"netrc":    {"netrc": "machine evil.test login e password e\nmachine git.test login ci password s3cret\n"},
		"default":  {"netrc": "default login ci password s3cret\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, vcs.Access{Secret: secret(t, keys), Hosts: "git.test:443"}, nil, git, evil)
			answers(t, s, "/git.test/m/@v/list", 200, "v1.0.0\n")
			answers(t, s, "/git.test/away/@v/list", 403, "could not read Username for 'https://evil.test'")
			answers(t, s, "/git.test/moved/@v/list", 403, "could not read Username for 'https://evil.test'")
		})
	}
	if logins := evil.sent(); logins != "" {
		t.Errorf("another host got credentials: %s", logins)
	}
	if !strings.Contains(git.sent(), "/m Basic ") {
		t.Errorf("the page of a module was asked without credentials: some servers then show another one: %s", git.sent())
	}
	before := git.sent()
	for name, access := range map[string]vcs.Access{
		"no consent":     {Secret: secret(t, map[string]string{"username": "ci", "password": "s3cret"})},
		"another host":   {Secret: secret(t, map[string]string{"username": "ci", "password": "s3cret"}), Hosts: "*.git.test"},
		"another port":   {Secret: secret(t, map[string]string{"username": "ci", "password": "s3cret"}), Hosts: "git.test:8443"},
		"no Secret":      {Hosts: "git.test"},
		"an empty one":   {Secret: t.TempDir(), Hosts: "git.test"},
		"an invalid one": {Secret: secret(t, map[string]string{"password": "s3cret"}), Hosts: "https://git.test"},
	} {
		t.Run(name, func(t *testing.T) {
			answers(t, start(t, access, nil, git), "/git.test/m/@v/list", 403, "could not read Username")
		})
	}
	if git.sent() != before {
		t.Errorf("credentials were sent without consent: %s", git.sent())
	}
	s := start(t, vcs.Access{Secret: secret(t, map[string]string{"username": "ci", "password": "old"}), Hosts: "git.test"}, nil, git)
	if text := answers(t, s, "/git.test/m/@v/list", 403, "Authentication failed"); strings.Contains(text, "old") {
		t.Errorf("the password is in an answer: %s", text)
	}
	must(t, os.WriteFile(filepath.Join(s.Access.Secret, "password"), []byte("s3cret"), 0o600))
	answers(t, s, "/git.test/m/@v/list", 200, "v1.0.0\n") // a new one needs no restart
}

// TestAuthorityOfAnotherUser holds that credentials are not sent to a server because
// of an authority that the spec names: users who may edit that need not have them, and
// can lead a name to a server of theirs, such as by HTTPS_PROXY or a Service.
func TestAuthorityOfAnotherUser(t *testing.T) {
	t.Parallel()
	git, impostor := newSite(t, "git.test"), newSite(t, "git.test")
	for _, s := range []*site{git, impostor} {
		commit(t, s.repository(t, "/repo", "git.test/m", "ci", "s3cret"), map[string]string{"go.mod": "module git.test/m\n"}, "v1.0.0")
	}
	access := vcs.Access{Secret: secret(t, map[string]string{"username": "ci", "password": "s3cret"}), Hosts: "git.test"}
	theirs := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(theirs, impostor.ca, 0o600))
	redirected := func(o *vcs.Options) { o.CAFile, o.LookupEnv = theirs, reach(t, impostor) }
	answers(t, start(t, access, redirected, git), "/git.test/m/@v/list", 502, "certificate")
	must(t, os.Remove(filepath.Join(access.Secret, "ca.crt")))
	s := start(t, vcs.Access{}, redirected, git)
	s.Access = access // the Secret has no authority
	answers(t, s, "/git.test/m/@v/list", 502, "certificate")
	if sent := impostor.sent(); sent != "" {
		t.Errorf("another server got the credentials: %s", sent)
	}
}

// TestOwnAuthority holds that a server is trusted by the authorities of the spec
// and the public ones alone.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	git := newSite(t, "git.test")
	r := git.repository(t, "/repo", "git.test/m", "", "")
	commit(t, r, map[string]string{"go.mod": "module git.test/m\n"}, "v1.0.0")
	s := start(t, vcs.Access{}, nil, git)
	answers(t, s, "/git.test/m/@v/list", 200, "v1.0.0\n")
	must(t, os.Remove(s.CAFile))
	answers(t, s, "/git.test/m/@v/list", 502, "certificate")
}

// TestSSH holds that a repository is read over ssh with the identity, from servers
// whose keys are known, and that https URLs of such servers lead to ssh.
func TestSSH(t *testing.T) {
	t.Parallel()
	git := newSite(t, "git.test")
	r, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	commit(t, r, map[string]string{"go.mod": "module git.test/m\n"}, "v1.0.0")
	host, _, err := gitserver.Key()
	must(t, err)
	user, identity, err := gitserver.Key()
	must(t, err)
	_, stranger, err := gitserver.Key()
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go gitserver.ServeSSH(t.Context(), listener, host, "git", user.PublicKey())
	address := listener.Addr().String()
	git.page("/m", "git.test/m git ssh://git@"+address+r.Dir)
	git.page("/rewritten", "git.test/rewritten git https://127.0.0.1"+r.Dir)
	commit(t, r, map[string]string{"go.mod": "module git.test/rewritten\n"}, "v1.1.0")
	known, hashed := string(gitserver.KnownHost(address, host.PublicKey(), false)), string(gitserver.KnownHost(address, host.PublicKey(), true))
	for name, tt := range map[string]struct {
		keys   map[string]string
		hosts  string
		status int
		text   string
	}{
		"right":          {map[string]string{"identity": string(identity), "known_hosts": known}, "127.0.0.1", 200, "v1.0.0"},
		"hashed":         {map[string]string{"identity": string(identity), "known_hosts": hashed}, address, 200, "v1.0.0"},
		"unknown server": {map[string]string{"identity": string(identity), "known_hosts": "# none\n"}, "127.0.0.1", 403, "key is unknown"},
		"another key":    {map[string]string{"identity": string(identity), "known_hosts": string(gitserver.KnownHost(address, user.PublicKey(), false))}, "127.0.0.1", 403, "mismatch"},
		"a stranger":     {map[string]string{"identity": string(stranger), "known_hosts": known}, "127.0.0.1", 403, "unable to authenticate"},
		"no consent":     {map[string]string{"identity": string(identity), "known_hosts": known}, "127.0.0.1:22", 403, "may not be used for " + address},
		"no known_hosts": {map[string]string{"identity": string(identity)}, "127.0.0.1", 403, "needs the keys identity and known_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, vcs.Access{Secret: secret(t, tt.keys), Hosts: tt.hosts}, nil, git)
			answers(t, s, "/git.test/m/@v/v1.0.0.info", tt.status, tt.text)
			if tt.status == 200 {
				answers(t, s, "/git.test/m/@v/v1.0.0.zip", 200, "git.test/m@v1.0.0/go.mod")
				answers(t, s, "/git.test/rewritten/@v/v1.1.0.zip", 200, "git.test/rewritten@v1.1.0/go.mod")
			}
		})
	}
}

// TestHostileServers holds that servers cannot make git use other ways, and cannot
// use up time, disk or memory.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	git := newSite(t, "git.test")
	marker := filepath.Join(t.TempDir(), "marker")
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { must(t, os.WriteFile(marker, []byte("http"), 0o600)) }))
	t.Cleanup(plain.Close)
	local, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	commit(t, local, map[string]string{"go.mod": "module git.test/file\n"}, "v1.0.0")
	for path, tag := range map[string]string{
		"/ext":   "git ext::sh -c touch% " + marker,
		"/ext2":  "git https+ext://sh/-c/touch%20" + marker,
		"/file":  "git file://" + local.Dir,
		"/plain": "git http://" + plain.Listener.Addr().String() + "/program.git",
		"/mod":   "mod http://git.test",
		"/modf":  "mod file://" + local.Dir,
		"/hg":    "hg https://git.test/hg",
		"/svn":   "svn https://git.test/svn",
		"/dash":  "git ssh://-oProxyCommand=touch%20" + marker + "/x",
		"/opt":   "git --upload-pack=touch",
	} {
		git.page(path, "git.test"+path+" "+tag)
	}
	s := start(t, vcs.Access{}, func(o *vcs.Options) { o.Timeout = 20 * time.Second }, git)
	for path := range git.pages {
		if code, text := get(t, s, "/git.test"+path+"/@v/v1.0.0.info"); code == 200 {
			t.Errorf("%s: %d %s", path, code, text)
		} else {
			t.Logf("%s: %d %s", path, code, text)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a server had a command run, or was asked over http")
	}

	t.Run("silent", func(t *testing.T) {
		silent, done := make(chan struct{}), make(chan struct{}, 1)
		var asked atomic.Bool
		git.handle("/silent", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked.Store(true)
			select {
			case <-silent:
			case <-r.Context().Done():
				select {
				case done <- struct{}{}:
				default: // of an earlier attempt
				}
			}
		}))
		defer close(silent)
		git.page("/silent", "git.test/silent git https://git.test/silent/program.git")
		for limit := 2 * time.Second; !asked.Load() && limit < time.Minute; limit *= 4 { // a busy machine takes longer to ask
			s := start(t, vcs.Access{}, func(o *vcs.Options) { o.Timeout = limit }, git)
			answers(t, s, "/git.test/silent/@v/list", 504, "longer than "+limit.String())
		}
		select {
		case <-done: // git is gone, too
		case <-time.After(20 * time.Second):
			t.Error("git still runs")
		}
	})
	t.Run("endless", func(t *testing.T) {
		var sent atomic.Int64
		git.handle("/endless", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
			line := fmt.Sprintf("%s refs/heads/%s\n", strings.Repeat("a", 40), strings.Repeat("x", 900))
			lines := []byte(strings.Repeat(fmt.Sprintf("%04x%s", len(line)+4, line), 1000))
			for r.Context().Err() == nil && sent.Load() < 2<<30 {
				n, err := w.Write(lines)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}))
		git.page("/endless", "git.test/endless git https://git.test/endless/program.git")
		s := start(t, vcs.Access{}, func(o *vcs.Options) { o.MaxMemory = 256 << 20 }, git)
		answers(t, s, "/git.test/endless/@v/list", 502, "version control: ")
		if sent.Load() > 1<<30 {
			t.Errorf("git has read %d MiB into its memory", sent.Load()>>20)
		}
	})
	t.Run("large", func(t *testing.T) {
		r := git.repository(t, "/large", "git.test/large", "", "")
		random := make([]byte, 12<<20)
		_, err := rand.Read(random)
		must(t, err)
		commit(t, r, map[string]string{"go.mod": "module git.test/large\n", "data": string(random)}, "v1.0.0")
		small := git.repository(t, "/small", "git.test/small", "", "")
		commit(t, small, map[string]string{"go.mod": "module git.test/small\n"}, "v1.0.0")
		s := start(t, vcs.Access{}, func(o *vcs.Options) { o.MaxBytes = 10 << 20 }, git)
		if code, text := get(t, s, "/git.test/large/@v/v1.0.0.zip"); code == 200 {
			t.Logf("was quicker than the look at the disk: %d bytes", len(text))
		} else if code != 502 || !strings.Contains(text, "more than 10 MiB of disk space") {
			t.Errorf("%d %s", code, text)
		}
		answers(t, s, "/git.test/small/@v/v1.0.0.zip", 200, "git.test/small@v1.0.0/go.mod")
		if left, err := filepath.Glob(filepath.Join(s.Dir, "mod", "cache", "download", "git.test", "*")); err != nil || len(left) != 1 {
			t.Errorf("the directory was not emptied: %q, %v", left, err)
		}
	})
}
