package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
)

// maxRequested is how many files are requested at once.
const maxRequested = 20_000

// cone are the directories of a sparse checkout, as git's cone mode has them: each
// with all below it, and the files of the directories on the way there.
type cone []string

func newCone(directories []string) cone {
	var c cone
	for _, d := range directories {
		c = append(c, path.Clean(d))
	}
	return c
}

// holds reports whether a directory is checked out as a whole; leads whether one below
// it is.
func (c cone) holds(dir string) (full, leads bool) {
	for _, d := range c {
		full = full || dir == d || strings.HasPrefix(dir, d+"/")
		leads = leads || strings.HasPrefix(d, dir+"/")
	}
	return full, leads
}

// errNoParts is the error of a server that does not send parts of a commit: it is to be
// fetched as a whole, into a repository that has none of it.
var errNoParts = errors.New("the server sends no parts of commits")

// fetchSparse reads the directories of one commit and the files of a cone.
func (r Remote) fetchSparse(ctx context.Context, repository *git.Repository, commit plumbing.Hash) error {
	auth, done, err := r.Credentials.auth(r.URL)
	if err != nil {
		return err
	}
	defer done()
	ctx, closed, err := trusting(through(filtered(ctx, r.Filter), r.Proxies), r.CA)
	if err != nil {
		return err
	}
	defer closed()
	err = r.request(ctx, auth, repository.Storer, packp.FilterBlobNone(), commit)
	if err != nil {
		return refused(ctx, "fetching the directories of commit "+commit.String(), err)
	}
	_, files, err := reduce(repository.Storer, commit, newCone(r.Sparse))
	if err != nil {
		return err
	}
	for len(files) > 0 {
		some := files[:min(len(files), maxRequested)]
		files = files[len(some):]
		if err := r.request(ctx, auth, repository.Storer, "", some...); err != nil {
			return refused(ctx, "fetching the directories of commit "+commit.String(), err)
		}
	}
	return nil
}

// unread begins the text of the library's error for an answer that is no pack: mostly it
// is the server's own error. That is all that is left of what it was.
const unread = "error decoding upload-pack response: "

// refused is errNoParts where the server has refused a request, and else what failed.
func refused(ctx context.Context, doing string, err error) error {
	text, answered := strings.CutPrefix(err.Error(), unread)
	for _, broken := range []error{io.ErrUnexpectedEOF, pktline.ErrInvalidPktLen} {
		answered = answered && !strings.HasPrefix(text, broken.Error())
	}
	if ctx.Err() == nil && (answered || errors.Is(err, errNoParts) || errors.Is(err, transport.ErrEmptyUploadPackRequest)) {
		return errNoParts
	}
	return explain(doing, err)
}

// request stores objects that the server sends: commits as they are now, without their
// history, or files.
func (r Remote) request(ctx context.Context, auth transport.AuthMethod, to storer.Storer, filter packp.Filter, objects ...plumbing.Hash) (err error) {
	endpoint, err := transport.NewEndpoint(r.URL)
	if err != nil {
		return err
	}
	endpoint.Proxy = dialing(ctx, r.URL, 0, r.Filter)
	through, err := client.NewClient(endpoint)
	if err != nil {
		return err
	}
	session, err := through.NewUploadPackSession(endpoint, auth)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	advertised, err := session.AdvertisedReferencesContext(listing(ctx, r.Ref))
	if err != nil {
		return err
	}
	request := packp.NewUploadPackRequestFromCapabilities(advertised.Capabilities)
	request.Capabilities.Delete(capability.ThinPack) // nothing is here that a pack could refer to
	request.Wants = objects
	if filter != "" {
		if !advertised.Capabilities.Supports(capability.Filter) || !advertised.Capabilities.Supports(capability.Shallow) {
			return errNoParts
		}
		request.Filter, request.Depth = filter, packp.DepthCommits(1)
		for _, c := range []capability.Capability{capability.Filter, capability.Shallow} {
			if err := request.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	answer, err := session.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	return packfile.UpdateObjectStorage(to, packOf(request.Capabilities, answer))
}

// packOf is the pack in an answer, which may be divided into channels.
func packOf(c *capability.List, answer io.Reader) io.Reader {
	switch {
	case c.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case c.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}

// reduce stores a commit that has the files of a cone alone, so that the library checks
// out nothing else. It returns that commit, and which of its files are not stored yet.
func reduce(s storer.EncodedObjectStorer, commit plumbing.Hash, c cone) (reduced plumbing.Hash, missing []plumbing.Hash, err error) {
	original, err := object.GetCommit(s, commit)
	if err != nil {
		return plumbing.ZeroHash, nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	p := reduction{EncodedObjectStorer: s, cone: c, found: map[string]bool{}, seen: map[plumbing.Hash]bool{}}
	tree, err := p.tree(original.TreeHash, "")
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	for _, d := range c {
		if !p.found[d] {
			return plumbing.ZeroHash, nil, fmt.Errorf("sparseCheckout: commit %s has no directory %s", commit, d)
		}
	}
	reduced, err = p.store(&object.Commit{Author: original.Author, Committer: original.Committer, TreeHash: tree})
	return reduced, p.missing, err
}

type reduction struct {
	storer.EncodedObjectStorer
	cone    cone
	found   map[string]bool
	seen    map[plumbing.Hash]bool
	missing []plumbing.Hash
}

// tree is what is left of the tree of a directory; "" is the top.
func (p *reduction) tree(hash plumbing.Hash, dir string) (plumbing.Hash, error) {
	tree, err := object.GetTree(p, hash)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("directory %q: %w", dir, err)
	}
	inside, _ := p.cone.holds(dir)
	var left []object.TreeEntry
	for _, e := range tree.Entries {
		name := path.Join(dir, e.Name)
		full, leads := p.cone.holds(name)
		switch {
		case e.Mode == filemode.Dir && (full || leads):
			p.found[name] = true
			if e.Hash, err = p.tree(e.Hash, name); err != nil {
				return plumbing.ZeroHash, err
			}
		case e.Mode == filemode.Submodule && full:
			p.found[name] = true
		case e.Mode == filemode.Dir, e.Mode == filemode.Submodule:
			continue
		case !p.seen[e.Hash]:
			p.seen[e.Hash] = true
			if p.HasEncodedObject(e.Hash) != nil {
				p.missing = append(p.missing, e.Hash)
			}
		}
		left = append(left, e)
	}
	if inside && len(left) == len(tree.Entries) {
		return hash, nil
	}
	return p.store(&object.Tree{Entries: left})
}

// store stores a tree or a commit.
func (p *reduction) store(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	encoded := p.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return p.SetEncodedObject(encoded)
}
