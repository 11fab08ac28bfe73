package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/untrusted"
)

// Remote is a repository and what is read of it.
type Remote struct {
	// URL of the repository: https, http or ssh.
	URL string
	// Ref is a branch, a tag, a full name below refs/, or a commit in all of its
	// 40 digits; empty: the default branch.
	Ref string
	// Credentials that its server asks for.
	Credentials Credentials
	// CA are certificates in PEM format of authorities that are trusted beside the
	// public ones; empty: none.
	CA []byte
	// Filter of the addresses that may be connected to; nil refuses none. Of what a
	// proxy connects to, it refuses what [untrusted.Filter.CheckHost] can decide.
	Filter *untrusted.Filter
	// Proxies for https and http.
	Proxies egress.Proxies
	// Sparse are directories, relative to the top. If there are any, a checkout has
	// these alone, with the files of the directories on the way there, and a server
	// that can is asked for nothing else.
	Sparse []string
	// Submodules are checked out as well, as far as their URLs are https, http, or ssh
	// to the same host. Credentials are sent to the host of URL alone.
	Submodules bool
}

const (
	remoteName = "origin"
	// fetched is the local name of the one ref that is fetched.
	fetched plumbing.ReferenceName = "refs/gocache/source"
)

var isCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// ErrNoRef is the error of a repository that was read and has no such ref.
var ErrNoRef = errors.New("no such ref")

// Resolve returns the commit that the ref names now. It reads nothing but the
// list of refs, and for a commit not even that.
func (r Remote) Resolve(ctx context.Context) (string, error) {
	if isCommit.MatchString(r.Ref) {
		return r.Ref, nil
	}
	refs, err := r.list(ctx)
	if err != nil {
		return "", err
	}
	_, commit, err := r.pick(refs)
	return commit.String(), err
}

// Checkout writes the files of the ref's newest commit to an empty directory,
// without the history, and returns that commit.
func (r Remote) Checkout(ctx context.Context, dir string) (string, error) {
	commit, err := r.checkout(ctx, &superproject{r, maxSubmodules}, dir, 0)
	if err == nil {
		// Last: a link of a submodule may lead into the repository around it.
		err = removeLinksOut(dir)
	}
	if err != nil {
		return "", err
	}
	return commit, nil
}

// checkout is Checkout of a repository, or of a submodule in it.
func (r Remote) checkout(ctx context.Context, of *superproject, dir string, nesting int) (string, error) {
	refs, err := r.list(ctx)
	if err != nil {
		return "", err
	}
	name, commit, err := r.pick(refs)
	if err != nil {
		return "", err
	}
	repository, written, err := r.fetchFiles(ctx, dir, name, commit)
	if err != nil {
		return "", err
	}
	if err := checkTrees(repository.Storer, written); err != nil {
		return "", fmt.Errorf("commit %s: %w", commit, err)
	}
	tree, err := repository.Worktree()
	if err == nil {
		err = tree.Checkout(&git.CheckoutOptions{Hash: written, Force: true})
	}
	if err == nil && r.Submodules {
		if err := of.checkoutSubmodules(ctx, r, repository, written, dir, nesting); err != nil {
			return "", err
		}
	}
	if err == nil {
		// A build would ask git about it, which may not be there, or not trust
		// whose it is.
		err = os.RemoveAll(filepath.Join(dir, git.GitDirName))
	}
	if err != nil {
		return "", fmt.Errorf("writing the files of commit %s: %w", commit, err)
	}
	return commit.String(), nil
}

// fetchFiles reads what of a commit is to be checked out into a repository in a directory,
// and returns a commit that has that alone.
func (r Remote) fetchFiles(ctx context.Context, dir string, name plumbing.ReferenceName, commit plumbing.Hash) (*git.Repository, plumbing.Hash, error) {
	repository, err := initialize(dir)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	if len(r.Sparse) == 0 {
		return repository, commit, r.fetch(ctx, repository, name, commit)
	}
	err = r.fetchSparse(ctx, repository, commit)
	if errors.Is(err, errNoParts) {
		// The library fetches nothing of a commit that is stored, with or without its
		// files.
		if err = os.RemoveAll(filepath.Join(dir, git.GitDirName)); err == nil {
			repository, err = initialize(dir)
		}
		if err == nil {
			err = r.fetch(ctx, repository, name, commit)
		}
	}
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	reduced, _, err := reduce(repository.Storer, commit, newCone(r.Sparse))
	return repository, reduced, err
}

// initialize makes an empty repository in a directory.
func initialize(dir string) (*git.Repository, error) {
	repository, err := git.PlainInit(dir, false)
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", dir, err)
	}
	return repository, nil
}

// list reads the refs of the repository.
func (r Remote) list(ctx context.Context) ([]*plumbing.Reference, error) {
	auth, done, err := r.Credentials.auth(r.URL)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, closed, err := trusting(through(filtered(ctx, r.Filter), r.Proxies), r.CA)
	if err != nil {
		return nil, err
	}
	defer closed()
	remote := git.NewRemote(memory.NewStorage(), r.remote())
	refs, err := remote.ListContext(listing(ctx, r.Ref), &git.ListOptions{
		Auth: auth, PeelingOption: git.AppendPeeled, ProxyOptions: dialing(ctx, r.URL, maxRefs, r.Filter),
	})
	if err != nil {
		return nil, explain("reading the refs", err)
	}
	return refs, nil
}

func (r Remote) remote() *config.RemoteConfig {
	return &config.RemoteConfig{Name: remoteName, URLs: []string{r.URL}}
}

// pick finds the ref and its commit. As with git clone, a branch comes before a
// tag of the same name. A commit that is no ref's newest has no name.
func (r Remote) pick(refs []*plumbing.Reference) (plumbing.ReferenceName, plumbing.Hash, error) {
	hashes := map[plumbing.ReferenceName]plumbing.Hash{}
	for _, ref := range refs {
		if ref.Type() == plumbing.HashReference {
			hashes[ref.Name()] = ref.Hash()
		}
	}
	if isCommit.MatchString(r.Ref) {
		commit := plumbing.NewHash(r.Ref)
		for name, hash := range hashes {
			if hash == commit && name.IsBranch() {
				return name, commit, nil
			}
		}
		return "", commit, nil
	}
	names := []plumbing.ReferenceName{plumbing.NewBranchReferenceName(r.Ref), plumbing.NewTagReferenceName(r.Ref), plumbing.ReferenceName(r.Ref)}
	if r.Ref == "" {
		names = []plumbing.ReferenceName{defaultBranch(refs)}
	}
	for _, name := range names {
		if hash, ok := hashes[name+"^{}"]; ok { // the commit of an annotated tag
			return name, hash, nil
		}
		if hash, ok := hashes[name]; ok {
			return name, hash, nil
		}
	}
	if r.Ref == "" {
		return "", plumbing.ZeroHash, fmt.Errorf("%w: the repository has no default branch, name one", ErrNoRef)
	}
	return "", plumbing.ZeroHash, fmt.Errorf("%w: the repository has no branch or tag %q; a commit is named by all of its 40 digits", ErrNoRef, r.Ref)
}

// defaultBranch is what HEAD points to.
func defaultBranch(refs []*plumbing.Reference) plumbing.ReferenceName {
	for _, ref := range refs {
		if ref.Name() == plumbing.HEAD && ref.Type() == plumbing.SymbolicReference {
			return ref.Target()
		}
	}
	return plumbing.HEAD
}

// fetch reads one commit. Where a server gives only what some ref names, the
// history of all branches is read to find it.
func (r Remote) fetch(ctx context.Context, repository *git.Repository, name plumbing.ReferenceName, commit plumbing.Hash) error {
	auth, done, err := r.Credentials.auth(r.URL)
	if err != nil {
		return err
	}
	defer done()
	remote, err := repository.CreateRemote(r.remote())
	if err != nil {
		return fmt.Errorf("preparing to fetch: %w", err)
	}
	from := name.String()
	if name == "" {
		from = commit.String()
	}
	options := &git.FetchOptions{
		RemoteName: remoteName, Auth: auth, Depth: 1, Tags: git.NoTags,
		RefSpecs:     []config.RefSpec{config.RefSpec("+" + from + ":" + fetched.String())},
		ProxyOptions: dialing(ctx, r.URL, 0, r.Filter),
	}
	if name == "" {
		options.RefSpecs[0] = options.RefSpecs[0][1:] // a commit is what it is
	}
	ctx, closed, err := trusting(through(filtered(ctx, r.Filter), r.Proxies), r.CA)
	if err != nil {
		return err
	}
	defer closed()
	err = remote.FetchContext(ctx, options)
	if errors.Is(err, git.ErrExactSHA1NotSupported) {
		options.Depth, options.RefSpecs = 0, []config.RefSpec{"+refs/heads/*:refs/gocache/*"}
		err = remote.FetchContext(ctx, options)
	}
	if err != nil {
		return explain("fetching commit "+commit.String(), err)
	}
	return nil
}
