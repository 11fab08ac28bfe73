package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/cgi" //nolint:gosec // what was wrong with it was put right in Go 1.7
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repository is a bare repository in a directory.
type Repository struct {
	// Dir of it.
	Dir string
	// work is where commits are made.
	work string
}

// branch that a new repository begins with.
const branch = "main"

// New makes an empty repository below a directory.
func New(ctx context.Context, dir string) (*Repository, error) {
	r := &Repository{Dir: filepath.Join(dir, "program.git"), work: filepath.Join(dir, "work")}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=" + branch, r.Dir},
		{"--git-dir", r.Dir, "config", "http.uploadpack", "true"},
		{"init", "--quiet", "--initial-branch=" + branch, r.work},
		{"-C", r.work, "remote", "add", "origin", r.Dir},
	} {
		if _, err := Git(ctx, args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Commit adds files to the branch main and pushes it. It returns the commit.
func (r *Repository) Commit(ctx context.Context, files map[string]string) (string, error) {
	for name, content := range files {
		name = filepath.Join(r.work, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{
		{"add", "--all"},
		{"commit", "--quiet", "--allow-empty", "--message", "Change"},
		{"push", "--quiet", "origin", "HEAD:refs/heads/" + branch},
	} {
		if _, err := r.InWork(ctx, args...); err != nil {
			return "", err
		}
	}
	return r.InWork(ctx, "rev-parse", "HEAD")
}

// InWork runs git in the directory where commits are made; its remote is origin.
func (r *Repository) InWork(ctx context.Context, args ...string) (string, error) {
	return Git(ctx, append([]string{"-C", r.work}, args...)...)
}

// Git runs the git command, apart from the settings of the user of this machine.
func Git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // of a test
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com",
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(bytes.TrimSpace(out)), nil
}

// Handler serves the repository for reading at /program.git, to all, or
// to one user with a password.
func (r *Repository) Handler(ctx context.Context, user, password string) (http.Handler, error) {
	core, err := Git(ctx, "--exec-path")
	if err != nil {
		return nil, err
	}
	backend := &cgi.Handler{
		Path: filepath.Join(core, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=/nonexistent"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); user != "" && (u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "credentials required", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, req)
	}), nil
}
