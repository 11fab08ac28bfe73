package vcs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gocache.dev/operator/internal/agent/vcs"
	"gocache.dev/operator/internal/testing/gitserver"
)

// helped asks for help as git and the go command do.
func helped(access vcs.Access, change func(*vcs.Process), in string, args ...string) (out string, code int, err error) {
	var printed, errs bytes.Buffer
	p := vcs.Process{
		Getenv: func(name string) string {
			return map[string]string{"GOCACHE_VCS_SECRET": access.Secret, "GOCACHE_VCS_HOSTS": access.Hosts}[name]
		},
		Now: time.Now, In: strings.NewReader(in), Out: &printed, Errors: &errs,
	}
	if change != nil {
		change(&p)
	}
	code, err = vcs.Help(context.Background(), args, p)
	return printed.String() + errs.String(), code, err
}

// expect compares what is printed, and the end of a program: with an error its code is not 0.
func expect(t *testing.T, name, got string, code int, err error, want string, wantCode int, wantErr string) {
	t.Helper()
	if got != want || code != wantCode || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Errorf("%s: %q, code %d, %v; want %q, %d, %q", name, got, code, err, want, wantCode, wantErr)
	}
}

// full is an output that takes nothing.
type full struct{}

var errFull = errors.New("the output is closed")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestHelpForGit holds which answers git gets: credentials for hosts that the list has,
// over https, to the one question that asks for them.
func TestHelpForGit(t *testing.T) {
	login := secret(t, map[string]string{"username": "ci\r\n", "password": "s3cret\n"})
	const question, answer = "protocol=https\nhost=git.test\n", "username=ci\npassword=s3cret\n"
	filler := func(n int) string { return "x=" + strings.Repeat("y", n-3) + "\n" }
	const most = 64 << 10 // of a question
	for name, tt := range map[string]struct {
		keys  map[string]string // nil: the login above
		hosts string            // empty: git.test
		in    string
		args  string
		want  string
		err   string
	}{
		"it asks":                      {nil, "", question, "get", answer, ""},
		"it asks for more":             {nil, "", question, "get it", "", ""},
		"it asks for nothing":          {nil, "", question, "", "", ""},
		"it stores":                    {nil, "", question, "store", "", ""},
		"it erases":                    {nil, "", question, "erase", "", ""},
		"plain http":                   {nil, "", "protocol=http\nhost=git.test\n", "get", "", ""},
		"no protocol":                  {nil, "", "host=git.test\n", "get", "", ""},
		"another host":                 {nil, "", "protocol=https\nhost=evil.test\n", "get", "", ""},
		"another port, of any":         {nil, "", "protocol=https\nhost=git.test:8443\n", "get", answer, ""},
		"another port":                 {nil, "git.test:443", "protocol=https\nhost=git.test:8443\n", "get", "", ""},
		"the port of https":            {nil, "git.test:443", question, "get", answer, ""},
		"in capitals":                  {nil, "", "protocol=https\nhost=GIT.test\n", "get", answer, ""},
		"no host":                      {nil, "", "protocol=https\n", "get", "", `"" is not a host`},
		"a path":                       {nil, "", "protocol=https\nhost=git.test/x\n", "get", "", `"git.test/x" is not a host`},
		"a port alone":                 {nil, "", "protocol=https\nhost=:443\n", "get", "", "is not a host"},
		"no URL":                       {nil, "", "protocol=https\nhost=%zz\n", "get", "", "is not a host"},
		"a list that is none":          {nil, "https://git.test", question, "get", "", "is not a host: write a name"},
		"a netrc":                      {map[string]string{"netrc": "machine git.test login n password p\n", "username": "ci", "password": "s3cret"}, "", question, "get", "username=n\npassword=p\n", ""},
		"a netrc of another machine":   {map[string]string{"netrc": "machine x.test login n password p\n", "username": "ci", "password": "s3cret"}, "", question, "get", answer, ""},
		"no password":                  {map[string]string{"username": "ci"}, "", question, "get", "", ""},
		"no key":                       {map[string]string{}, "", question, "get", "", ""},
		"a token alone":                {map[string]string{"password": "t"}, "", question, "get", "username=\npassword=t\n", ""},
		"a line break in a password":   {map[string]string{"username": "ci", "password": "a\nhost=evil.test"}, "", question, "get", "", "has a line break"},
		"a zero in a user":             {map[string]string{"username": "c\x00i", "password": "a"}, "", question, "get", "", "has a line break"},
		"a password that is too large": {map[string]string{"password": strings.Repeat("x", 1<<20+1)}, "", question, "get", "", "reading credentials: "},
		"a long question":              {nil, "", "host=git.test\n" + filler(most/2) + filler(most/2-14-15) + "protocol=https\n", "get", answer, ""},
		"a longer one":                 {nil, "", "host=git.test\n" + filler(most/2) + filler(most/2-14-13) + "protocol=https\n", "get", "", ""},
		"a long line":                  {nil, "", question + "x=" + strings.Repeat("y", most), "get", answer, ""},
		"a long line before":           {nil, "", "x=" + strings.Repeat("y", most) + "\n" + question, "get", "", "token too long"},
		"another host, a long line":    {nil, "", strings.Repeat("y", most), "get", "", "token too long"},
	} {
		dir, hosts := login, "git.test"
		if tt.keys != nil {
			dir = secret(t, tt.keys)
		}
		if tt.hosts != "" {
			hosts = tt.hosts
		}
		out, code, err := helped(vcs.Access{Secret: dir, Hosts: hosts}, nil, tt.in, append([]string{"git"}, strings.Fields(tt.args)...)...)
		wantCode := 0
		if tt.err != "" {
			wantCode = 1
		}
		expect(t, name, out, code, err, tt.want, wantCode, tt.err)
	}
	out, code, err := helped(vcs.Access{Hosts: "git.test"}, nil, question, "git", "get")
	expect(t, "no Secret", out, code, err, "", 0, "")
	if _, code, err := helped(vcs.Access{Secret: login, Hosts: "git.test"}, func(p *vcs.Process) { p.Out = full{} }, question, "git", "get"); code != 1 || !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %d, %v", code, err)
	}
	for _, args := range [][]string{nil, {"help"}} {
		if out, code, err := helped(vcs.Access{}, nil, "", args...); out != "" || code != 1 || err == nil {
			t.Errorf("%q: %q, %d, %v", args, out, code, err)
		}
	}
}

// TestHelpForGo holds which answers the go command gets: at first for all hosts by name that
// the credentials are for, and then for the one that has refused.
func TestHelpForGo(t *testing.T) {
	one := map[string]string{"username": "ci", "password": "s3cret"}
	of := func(login string, hosts ...string) string {
		var text strings.Builder
		for _, host := range hosts {
			text.WriteString("https://" + host + "\n\nAuthorization: Basic " + login + "\n\n")
		}
		return text.String()
	}
	const ci, n = "Y2k6czNjcmV0", "bjpw" // ci:s3cret, n:p
	for name, tt := range map[string]struct {
		keys  map[string]string
		hosts string
		args  []string
		want  string
		err   string
	}{
		"all hosts":           {one, "b.test *.wild.test a.test:443 c.test:8443 a.test", nil, of(ci, "a.test", "b.test", "c.test:8443"), ""},
		"those of a netrc":    {map[string]string{"netrc": "machine x.wild.test login n password p machine a.test login n password p machine evil.test login n password p"}, "b.test *.wild.test a.test", nil, of(n, "a.test", "x.wild.test"), ""},
		"a netrc's at a port": {map[string]string{"netrc": "machine x.wild.test login n password p"}, "*.wild.test:8443", nil, "", ""},
		"no host":             {one, "", nil, "", ""},
		"no list":             {one, "https://a.test", nil, "", ""},
		"the URL":             {one, "a.test b.test", []string{"https://b.test/m?go-get=1"}, of(ci, "b.test"), ""},
		"the last argument":   {one, "a.test b.test", []string{"https://a.test/m", "https://b.test/m"}, of(ci, "b.test"), ""},
		"a URL with a port":   {one, "a.test", []string{"https://a.test:8443/m"}, of(ci, "a.test:8443"), ""},
		"another host":        {one, "a.test", []string{"https://evil.test/m"}, "", ""},
		"plain http":          {one, "a.test", []string{"http://a.test/m"}, "", ""},
		"no URL":              {one, "a.test", []string{"https://%zz"}, "", ""},
		"a URL without host":  {one, "a.test", []string{"https:///m"}, "", "is not a host"},
		"no password":         {map[string]string{"username": "ci"}, "a.test", nil, "", ""},
		"too large":           {map[string]string{"password": strings.Repeat("x", 1<<20+1)}, "a.test", nil, "", "reading credentials: "},
	} {
		out, code, err := helped(vcs.Access{Secret: secret(t, tt.keys), Hosts: tt.hosts}, nil, "", append([]string{"go"}, tt.args...)...)
		wantCode := 0
		if tt.err != "" {
			wantCode = 1
		}
		expect(t, name, out, code, err, tt.want, wantCode, tt.err)
	}
	if _, code, err := helped(vcs.Access{Secret: secret(t, one), Hosts: "a.test"}, func(p *vcs.Process) { p.Out = full{} }, "", "go"); code != 1 || !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %d, %v", code, err)
	}
}

// TestArgumentsOfSSH holds how the arguments that git gives to ssh are read: the host and
// its port are those that the identity may not be used for.
func TestArgumentsOfSSH(t *testing.T) {
	refused := func(address string) string { return "the identity may not be used for " + address + ":" }
	for args, want := range map[string]string{
		"git.test cmd":                                    refused("git.test:22"),
		"git@git.test cmd with more":                      refused("git.test:22"),
		"-p 2222 git@git.test cmd":                        refused("git.test:2222"),
		"-4 -p 2222 -o SendEnv=GIT_PROTOCOL git.test cmd": refused("git.test:2222"),
		"-6 -o SendEnv=GIT_PROTOCOL -- git.test cmd":      refused("git.test:22"),
		"-o -p git.test cmd":                              refused("git.test:22"),
		"-p 22 [::1] cmd":                                 refused("[::1]:22"),
		"git@[::1] cmd":                                   refused("[::1]:22"),
		"-p":                                              `the option "-p" is not supported`,
		"-o":                                              `the option "-o" is not supported`,
		"-G git.test cmd":                                 `the option "-G" is not supported`,
		"-p 22":                                           "a host or a command is missing",
		"git.test":                                        "a host or a command is missing",
		"":                                                "a host or a command is missing",
	} {
		out, code, err := helped(vcs.Access{}, nil, "", append([]string{"ssh"}, strings.Fields(args)...)...)
		expect(t, args, out, code, err, "", 255, want)
	}
	for name, tt := range map[string]struct {
		access vcs.Access
		want   string
	}{
		"no list":      {vcs.Access{Hosts: "https://git.test"}, "is not a host"},
		"another port": {vcs.Access{Hosts: "git.test:22"}, refused("git.test:2222")},
		"no Secret":    {vcs.Access{Hosts: "git.test"}, "needs the keys identity and known_hosts"},
		"no key":       {vcs.Access{Hosts: "git.test", Secret: secret(t, map[string]string{"identity": "x", "known_hosts": "x"})}, "is no private key"},
		"too large":    {vcs.Access{Hosts: "git.test", Secret: secret(t, map[string]string{"identity": strings.Repeat("x", 1<<20+1)})}, "reading credentials: "},
	} {
		out, code, err := helped(tt.access, nil, "", "ssh", "-p", "2222", "git.test", "cmd")
		expect(t, name, out, code, err, "", 255, tt.want)
	}
}

// sshServer is a server that accepts every user, and does what a command names.
type sshServer struct {
	address, known string

	mu  sync.Mutex
	env []string // what clients have set, and their users
}

// newSSHServer starts one.
func newSSHServer(t *testing.T) *sshServer {
	t.Helper()
	host, _, err := gitserver.Key()
	must(t, err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s := &sshServer{address: listener.Addr().String()}
	s.known = string(gitserver.KnownHost(s.address, host.PublicKey(), false))
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, _ ssh.PublicKey) (*ssh.Permissions, error) {
		s.note("user " + c.User())
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

func (s *sshServer) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env = append(s.env, text)
}

// noted is what was noted since the last call.
func (s *sshServer) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.env, ", ")
	s.env = nil
	return text
}

func (s *sshServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

// session echoes input with the command "echo", ends with the code 7 by "fail", and by a
// signal with "die".
func (s *sshServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		var text struct{ Name, Value string }
		var command struct{ Line string }
		_ = ssh.Unmarshal(r.Payload, &text)
		_ = ssh.Unmarshal(r.Payload, &command)
		_ = r.Reply(true, nil)
		if r.Type == "env" {
			s.note(text.Name + "=" + text.Value)
			continue
		}
		switch command.Line {
		case "echo it":
			_, _ = io.Copy(channel, channel)
			_, _ = io.WriteString(channel.Stderr(), "errors")
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		case "fail":
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{7}))
		case "die":
			_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}{Signal: "KILL"}))
		}
		_ = channel.Close()
	}
}

// TestHelpForSSH holds that a command is run at a server with its input and its outputs, as
// the user and with the version of the protocol that git names, and how it ends.
func TestHelpForSSH(t *testing.T) {
	s := newSSHServer(t)
	_, identity, err := gitserver.Key()
	must(t, err)
	access := vcs.Access{Secret: secret(t, map[string]string{"identity": string(identity), "known_hosts": s.known}), Hosts: "127.0.0.1"}
	_, port, err := net.SplitHostPort(s.address)
	must(t, err)
	protocol := func(p *vcs.Process) {
		environment := p.Getenv
		p.Getenv = func(name string) string {
			if name == "GIT_PROTOCOL" {
				return "version=2"
			}
			return environment(name)
		}
	}
	at := func(before time.Duration) func(*vcs.Process) {
		return func(p *vcs.Process) { p.Now = func() time.Time { return time.Now().Add(-before) } }
	}
	for name, tt := range map[string]struct {
		change func(*vcs.Process)
		args   string
		out    string
		code   int
		err    string
		noted  string
	}{
		"it succeeds":            {nil, "127.0.0.1 echo it", "input" + "errors", 0, "", "user git"},
		"as a user":              {protocol, "me@127.0.0.1 echo it", "input" + "errors", 0, "", "user me, GIT_PROTOCOL=version=2"},
		"it fails":               {nil, "127.0.0.1 fail", "", 7, "", "user git"},
		"it is killed":           {nil, "127.0.0.1 die", "", 255, `run "die" at ` + s.address, "user git"},
		"it ends without a code": {nil, "127.0.0.1 vanish", "", 255, `run "vanish" at ` + s.address, "user git"},
		"the login takes long":   {at(61 * time.Second), "127.0.0.1 echo it", "", 255, "log in to " + s.address, ""},
		"but not too long":       {at(30 * time.Second), "127.0.0.1 echo it", "input" + "errors", 0, "", "user git"},
	} {
		out, code, err := helped(access, tt.change, "input", append([]string{"ssh", "-p", port}, strings.Fields(tt.args)...)...)
		expect(t, name, out, code, err, tt.out, tt.code, tt.err)
		if noted := s.noted(); noted != tt.noted {
			t.Errorf("%s: the server got %q, want %q", name, noted, tt.noted)
		}
	}
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	must(t, free.Close())
	_, port, err = net.SplitHostPort(free.Addr().String())
	must(t, err)
	out, code, err := helped(access, nil, "", "ssh", "-p", port, "127.0.0.1", "echo", "it")
	expect(t, "no server", out, code, err, "", 255, "log in to "+free.Addr().String())
}
