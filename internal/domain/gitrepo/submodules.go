package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"gocache.dev/operator/internal/domain/redact"
)

const (
	// maxSubmodules of a repository, with those of its submodules, and how deep they
	// may be nested: their files name them.
	maxSubmodules, maxNesting = 64, 4
	// modulesFile names the submodules, and has maxModulesFile bytes at most.
	modulesFile    = ".gitmodules"
	maxModulesFile = 256 << 10
)

// superproject is a repository whose submodules are checked out.
type superproject struct {
	// Remote of the repository that was asked for: only its host gets credentials.
	Remote
	// left is how many submodules there may still be.
	left int
}

// checkoutSubmodules writes the files of the submodules of a commit, each below its
// directory, which the checkout of the commit has made.
func (s *superproject) checkoutSubmodules(ctx context.Context, of Remote, repository *git.Repository, commit plumbing.Hash, dir string, nesting int) error {
	c, err := repository.CommitObject(commit)
	if err != nil {
		return err
	}
	tree, err := c.Tree()
	if err != nil {
		return err
	}
	commits, err := linked(tree)
	if err != nil || len(commits) == 0 {
		return err
	}
	if s.left -= len(commits); s.left < 0 || nesting >= maxNesting {
		return fmt.Errorf("more than %d submodules, or submodules nested more than %d deep", maxSubmodules, maxNesting)
	}
	urls, err := submoduleURLs(tree)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(commits)) {
		if urls[name] == "" {
			return fmt.Errorf("submodule %s has no URL in %s", name, modulesFile)
		}
		child, err := s.submodule(of, urls[name], commits[name])
		if err == nil {
			err = checkEmpty(dir, name)
		}
		if err == nil {
			_, err = child.checkout(ctx, s, filepath.Join(dir, filepath.FromSlash(name)), nesting+1)
		}
		if err != nil {
			return fmt.Errorf("submodule %s: %w", name, err)
		}
	}
	return nil
}

// linked are the commits of the submodules of a tree, by their directories.
func linked(tree *object.Tree) (map[string]plumbing.Hash, error) {
	commits := map[string]plumbing.Hash{}
	walker := object.NewTreeWalker(tree, true, nil)
	defer walker.Close()
	for {
		name, entry, err := walker.Next()
		switch {
		case errors.Is(err, io.EOF):
			return commits, nil
		case err != nil:
			return nil, err
		case entry.Mode == filemode.Submodule:
			commits[name] = entry.Hash
		}
	}
}

// submoduleURLs are those of the file of a tree, by directories.
func submoduleURLs(tree *object.Tree) (map[string]string, error) {
	file, err := tree.File(modulesFile)
	switch {
	case errors.Is(err, object.ErrFileNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", modulesFile, err)
	case file.Size > maxModulesFile:
		return nil, fmt.Errorf("%s has more than %d bytes", modulesFile, maxModulesFile)
	}
	text, err := file.Contents()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modulesFile, err)
	}
	modules := config.NewModules()
	if err := modules.Unmarshal([]byte(text)); err != nil {
		return nil, fmt.Errorf("%s is not a file of submodules", modulesFile)
	}
	urls := map[string]string{}
	for _, m := range modules.Submodules {
		urls[path.Clean(m.Path)] = m.URL
	}
	return urls, nil
}

// submodule is the repository of a submodule of another one.
func (s *superproject) submodule(of Remote, text string, commit plumbing.Hash) (Remote, error) {
	u, err := submoduleURL(of.URL, text)
	if err != nil {
		return Remote{}, err
	}
	child := Remote{URL: u.String(), Ref: commit.String(), CA: s.CA, Filter: s.Filter, Proxies: s.Proxies, Submodules: true}
	if u.Scheme != "http" && sameHost(s.URL, u) {
		child.Credentials = s.Credentials
	}
	if u.Scheme == "ssh" && child.Credentials == nil {
		return Remote{}, fmt.Errorf("%s is read over ssh, and credentials are sent to the host of the repository alone: use an https URL in %s", redact.Of(u), modulesFile)
	}
	return child, nil
}

// scp is the short form of a URL of ssh.
var scp = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9._-]+):([^/].*|/[^/].*)$`)

// submoduleURL reads the URL of a submodule, and refuses one that decides about more of a
// request than which repository is read. The library does not escape the path.
func submoduleURL(of, text string) (*url.URL, error) {
	u, err := parseSubmodule(of, text)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(text, "?#") || strings.ContainsFunc(u.Path, func(c rune) bool { return c == '?' || c == '#' || unicode.IsControl(c) }) {
		return nil, errors.New("its URL has a query, a fragment or control characters: use https://HOST/PATH, or ../NAME beside the repository")
	}
	return u, nil
}

// parseSubmodule reads a URL, which may be relative to that of the repository. Credentials
// in it are left out: they are those of its author.
func parseSubmodule(of, text string) (*url.URL, error) {
	if strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") {
		base, err := url.Parse(of)
		if err != nil {
			return nil, errors.New("the URL of the repository cannot be parsed")
		}
		base.Path, base.RawPath = path.Join("/", base.Path, text), ""
		return base, nil
	}
	if parts := scp.FindStringSubmatch(text); parts != nil && !strings.Contains(text, "://") {
		u := &url.URL{Scheme: "ssh", Host: parts[2], Path: path.Join("/", parts[3])}
		if parts[1] != "" {
			u.User = url.User(parts[1])
		}
		return u, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" && u.Scheme != "file" {
		return nil, errors.New("its URL cannot be parsed: use https://HOST/PATH, or ../NAME beside the repository")
	}
	switch u.Scheme {
	case "https", "http":
		u.User = nil
	case "ssh":
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
	default:
		return nil, fmt.Errorf("a repository is read over https, http or ssh, not %q", u.Scheme)
	}
	return u, nil
}

// sameHost reports whether a URL has the host and the port of another one, for which
// the Secret was allowed.
func sameHost(of string, u *url.URL) bool {
	host, err := Host(of)
	return err == nil && strings.EqualFold(host, u.Host)
}
