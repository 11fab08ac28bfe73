package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
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
	// ReportInDir means that a failure is written to a file in Dir, for the warm-up
	// that follows: it costs this repository only.
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
	_, _ = fmt.Fprintf(o.Stdout, "fetching %s: %v\n", o.URL, err)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, warmup.FetchFailed), []byte("fetching "+o.URL+": "+err.Error()+"\n"), 0o600)
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
	commit, err := remote.Checkout(ctx, o.Dir)
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
