package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/domain/warmup"
)

// Options are the command's flags.
type Options struct {
	URL    string
	Ref    string
	Commit string // that the ref is expected to name; empty: any
	Dir    string // to write to; empty or absent
	Secret string // directory of a mounted Secret; empty: anonymous
	CAFile string // certificates in PEM format, trusted beside the public ones; empty: none. With a Secret those are its key ca.crt
	// ReportInDir means that a failure is written to a file in Dir, which holds nothing
	// else then, for the warm-up that follows: it costs this repository only.
	ReportInDir bool

	// Sparse are the directories to write, with the files of those on the way there;
	// empty: all. Submodules are written as well.
	Sparse     []string
	Submodules bool
	// Proxies that the server is reached through.
	Proxies egress.Proxies

	Stdout io.Writer
}

// Run writes the files of the ref's newest commit.
func Run(ctx context.Context, o Options) error {
	err := run(ctx, o)
	if err == nil || !o.ReportInDir {
		return err
	}
	reason := untrusted.Bound(fmt.Sprintf("fetching %s: %v", o.URL, err)) + "\n"
	_, _ = io.WriteString(o.Stdout, reason)
	return report(o.Dir, reason)
}

// report leaves one file in a directory, with the reason of a failure. What a repository
// has there is removed, and not followed.
func report(dir, reason string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := removeAll(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFile(warmup.FetchFailed, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, reason)
	return errors.Join(err, f.Close())
}

// removeAll removes all that is in a directory, and follows no link.
func removeAll(dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, o Options) error {
	remote := gitrepo.Remote{URL: o.URL, Ref: o.Ref, Proxies: o.Proxies, Sparse: o.Sparse, Submodules: o.Submodules}
	if o.Secret != "" {
		credentials, err := gitrepo.ReadCredentials(o.Secret)
		if err != nil {
			return err
		}
		ca, err := gitrepo.ReadKeys(o.Secret, gitrepo.CAKey)
		if err != nil {
			return err
		}
		remote.Credentials, remote.CA = credentials, ca[gitrepo.CAKey]
	}
	switch {
	case o.CAFile != "" && o.Secret != "":
		return fmt.Errorf("credentials are sent only to servers that the key %s of their Secret vouches for, or a public authority: leave out the CA file", gitrepo.CAKey)
	case o.CAFile != "":
		ca, err := os.ReadFile(o.CAFile)
		if err != nil {
			return fmt.Errorf("reading the trusted CA: %w", err)
		}
		remote.CA = ca
	}
	if err := empty(o.Dir); err != nil {
		return err
	}
	commit, err := checkout(ctx, remote, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.Stdout, "checked out commit %s\n", commit)
	if o.Commit != "" && commit != o.Commit {
		// The next look at the repository sees it too, and warms again.
		_, err = fmt.Fprintf(o.Stdout, "it has moved on: commit %s was expected\n", o.Commit)
	}
	return err
}

// checkout leaves nothing of a repository that could not be checked out as a whole.
func checkout(ctx context.Context, remote gitrepo.Remote, o Options) (string, error) {
	commit, err := remote.Checkout(ctx, o.Dir)
	if err == nil && o.ReportInDir {
		if _, exists := os.Lstat(filepath.Join(o.Dir, warmup.FetchFailed)); !errors.Is(exists, fs.ErrNotExist) {
			err = fmt.Errorf("the repository has an entry %s at its top, a name that is kept for the report of a fetch that failed: rename it", warmup.FetchFailed)
		}
	}
	if err == nil {
		return commit, nil
	}
	if left := removeAll(o.Dir); left != nil && !errors.Is(left, fs.ErrNotExist) {
		err = errors.Join(err, left)
	}
	return "", err
}

// empty refuses a directory that holds something: it would be built too.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: it holds %s", dir, entries[0].Name())
	}
	return nil
}
