package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"gocache.dev/operator/internal/domain/gitrepo"
)

// Options are the command's flags.
type Options struct {
	URL    string
	Ref    string
	Commit string // that the ref is expected to name; empty: any
	Dir    string // to write to; empty or absent
	Secret string // directory of a mounted Secret; empty: anonymous
	CAFile string // certificates in PEM format, trusted beside the public ones; empty: none

	Stdout io.Writer
}

// Run writes the files of the ref's newest commit.
func Run(ctx context.Context, o Options) error {
	remote := gitrepo.Remote{URL: o.URL, Ref: o.Ref}
	if o.Secret != "" {
		credentials, err := gitrepo.ReadCredentials(o.Secret)
		if err != nil {
			return err
		}
		remote.Credentials = credentials
	}
	if o.CAFile != "" {
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
