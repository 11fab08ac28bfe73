package vcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/internal/domain/gitrepo"
)

const (
	// maxOutput of a command, in bytes: a list of some hundred thousand versions.
	maxOutput = 16 << 20
	// maxErrors is how much of its error output is read.
	maxErrors = 64 << 10
)

// errOutput is a command that prints too much.
var errOutput = errors.New("the repository has more versions than can be listed")

// run runs the go command and returns what it prints.
func (s *Server) run(ctx context.Context, args ...string) ([]byte, error) {
	return s.execute(ctx, s.GoCommand, args...)
}

// execute runs a program of the image and returns what it prints.
func (s *Server) execute(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, s.Timeout)
	defer stop()
	if err := s.slots.Acquire(ctx, 1); err != nil {
		return nil, &failure{http.StatusServiceUnavailable, "as many repositories are fetched as may be; try again"}
	}
	defer s.slots.Release(1)
	ctx, done, err := s.disk.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	home, err := s.home()
	if err != nil {
		return nil, err
	}
	defer func() { _ = removeAll(home) }() // else it goes with all else
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, text := &limited{max: maxOutput, full: func() { cancel(errOutput) }}, &limited{max: maxErrors, full: func() {}}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the go command and git of the image; paths and versions are checked, and no argument begins with '-'
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = home, s.environment(home), out, text
	// Its children too: git, and what git runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err = cmd.Start(); err == nil {
		// Its children have the same limit: git reads lists of refs into memory.
		if limitErr := limit(cmd.Process.Pid, s.MaxMemory); limitErr != nil {
			cancel(fmt.Errorf("limit the memory of a command: %w", limitErr))
		}
		err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing in the background is of use
	}
	switch cause := context.Cause(ctx); {
	case err == nil:
		return out.kept.Bytes(), nil
	case errors.Is(cause, errOutput), errors.As(cause, &errFull{}):
		return nil, &failure{http.StatusBadGateway, cause.Error()}
	case errors.Is(cause, context.DeadlineExceeded):
		return nil, &failure{http.StatusGatewayTimeout, fmt.Sprintf("fetching from version control took longer than %s", s.Timeout)}
	case cause != nil:
		return nil, cause // the client has left
	}
	if _, isExit := errors.AsType[*exec.ExitError](err); !isExit {
		return nil, fmt.Errorf("run the program %s of the image: %w; choose an image with go and git (spec.privateModules.versionControl.image)", program, err)
	}
	return nil, explain(out.kept.Bytes(), text.kept.Bytes(), home, s.Dir)
}

// limited keeps the beginning of what is written. Its buffer is not embedded: the output of
// a command would go to the ReadFrom of that, which has no limit.
type limited struct {
	kept bytes.Buffer
	max  int
	full func()
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	room := l.max - l.kept.Len()
	if len(p) > room {
		l.full()
	}
	l.kept.Write(p[:min(len(p), max(room, 0))])
	return len(p), nil
}

// environment of the commands. Nothing of the surroundings is used but the search
// path and the proxies for https.
func (s *Server) environment(home string) []string {
	env := []string{
		"HOME=" + home, "TMPDIR=" + home, "LC_ALL=C",
		"GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GO111MODULE=on",
		"GOPATH=" + filepath.Join(s.Dir, "path"), "GOCACHE=" + filepath.Join(s.Dir, "build"), "GOMODCACHE=" + s.modules(),
		"GOFLAGS=-modcacherw",
		// All that is asked for is private: it comes from version control, and no
		// checksum database learns of it.
		"GOPROXY=direct", "GONOPROXY=", "GOPRIVATE=", "GOSUMDB=off", "GOINSECURE=", "GOVCS=*:git",
		"GOAUTH=" + s.Self + " " + HelpCommand + " " + helpGo,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + filepath.Join(home, gitConfig),
		"GIT_ALLOW_PROTOCOL=https:ssh", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_SSH_COMMAND='" + s.Self + "' " + HelpCommand + " " + helpSSH, "GIT_SSH_VARIANT=ssh",
		"SSL_CERT_FILE=" + filepath.Join(home, caBundle),
		// Plain http leads nowhere: a page could send the go command to a service
		// that trusts its network.
		"HTTP_PROXY=http://127.0.0.1:9", "http_proxy=http://127.0.0.1:9",
		accessFolder + "=" + s.Access.Secret, accessHosts + "=" + s.Access.Hosts,
	}
	for _, name := range []string{"PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		if value, ok := s.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

const (
	gitConfig = ".gitconfig"
	caBundle  = "ca.crt"
)

// home is the home directory of one command, with settings from the present
// Secret and authorities.
func (s *Server) home() (string, error) {
	home, err := os.MkdirTemp(s.Dir, "run-")
	if err != nil {
		return "", fmt.Errorf("prepare a command: %w", err)
	}
	for name, text := range map[string][]byte{
		caBundle: s.authorities(), gitConfig: []byte(s.gitConfig(home)),
		".config/go/telemetry/mode": []byte("off"), // else a process of it outlives the command
	} {
		file := filepath.Join(home, name)
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			return "", errors.Join(fmt.Errorf("prepare a command: %w", err), os.RemoveAll(home))
		}
	}
	return home, nil
}

// gitConfig are the settings of git.
func (s *Server) gitConfig(home string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "[credential]\n\thelper = \"!'%s' %s %s\"\n", s.Self, HelpCommand, helpGit)
	fmt.Fprintf(&text, "[http]\n\tsslCAInfo = %s\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n", filepath.Join(home, caBundle))
	text.WriteString("[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[submodule]\n\trecurse = false\n")
	for _, host := range s.Access.sshHosts() {
		// The go command finds repositories by https URLs.
		name, _, _ := splitHost(host, sshPort)
		fmt.Fprintf(&text, "[url \"ssh://git@%s/\"]\n\tinsteadOf = https://%s/\n", host, bracket(name))
	}
	return text.String()
}

// systemAuthorities are where distributions keep the public ones.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
}

// authorities are the public ones of the image, and those of the Secret, or without
// one those of the spec.
func (s *Server) authorities() []byte {
	var all []byte
	for _, name := range systemAuthorities {
		if text, err := os.ReadFile(name); err == nil { //nolint:gosec // fixed names
			all = append(text, '\n')
			break
		}
	}
	file := s.CAFile
	if s.Access.Secret != "" {
		file = filepath.Join(s.Access.Secret, gitrepo.CAKey)
	}
	if file == "" {
		return all
	}
	// One that cannot be read is not trusted, which the servers' errors show.
	text, err := os.ReadFile(file) //nolint:gosec // of the spec or the mounted Secret, by a name of our own
	if err != nil && (s.Access.Secret == "" || !errors.Is(err, fs.ErrNotExist)) {
		s.Log.Warn("Trusting the public authorities alone", "error", err)
	}
	return append(all, text...)
}
