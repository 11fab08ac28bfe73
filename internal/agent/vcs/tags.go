package vcs

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"golang.org/x/mod/module"
)

// tagsSuffix ends the path of the page with the tags of a module's repository. It is
// no part of the GOPROXY protocol: the instance compares the commits with those that it
// has stored.
const tagsSuffix = "/@tags"

// serveTags answers with a line for each tag: its commit, a space and its full name.
func (s *Server) serveTags(ctx context.Context, w http.ResponseWriter, escaped string) (status int, err error) {
	modulePath, err := module.UnescapePath(escaped)
	if err != nil || !module.MatchPrefixPatterns(s.Patterns, modulePath) {
		return 0, &failure{http.StatusNotFound, "not found: not a module that is fetched from version control"}
	}
	out, err := s.run(ctx, "list", "-m", "-json=Origin", modulePath+"@latest")
	if err != nil {
		return 0, err
	}
	var found struct{ Origin struct{ VCS, URL string } }
	if err := json.Unmarshal(out, &found); err != nil || found.Origin.VCS != "git" || found.Origin.URL == "" {
		return 0, &failure{http.StatusNotFound, "not found: the go command names no git repository of " + modulePath}
	}
	refs, err := s.execute(ctx, "git", "ls-remote", "--quiet", "--tags", "--", found.Origin.URL)
	if err != nil {
		return 0, err
	}
	_, _ = io.WriteString(w, tags(string(refs))) //nolint:gosec // plain text; the client may be gone
	return http.StatusOK, nil
}

// tags are the lines of git ls-remote, with the commit of an annotated tag in place of
// the tag itself, which comes before it.
func tags(refs string) string {
	var lines []string
	for line := range strings.Lines(refs) {
		hash, ref, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		if name, peeled := strings.CutSuffix(ref, "^{}"); peeled {
			if n := len(lines) - 1; n >= 0 && strings.HasSuffix(lines[n], " "+name+"\n") {
				lines[n] = hash + " " + name + "\n"
			}
			continue
		}
		lines = append(lines, hash+" "+ref+"\n")
	}
	return strings.Join(lines, "")
}
