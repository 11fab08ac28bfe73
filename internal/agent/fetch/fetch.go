package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/redact"
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
	// Self is the file of this program. With ReportInDir it is started again, to fetch in
	// a process that may die; empty: this process fetches.
	Self string
	// MaxMemory is how many bytes of memory the fetch may take; with ReportInDir those of
	// its container. 0: any.
	MaxMemory int64
	// MaxBytes of disk that the files may take, with what is sent of the history; 0: any.
	MaxBytes int64
	// Timeout of a fetch with ReportInDir; 0: none.
	Timeout time.Duration

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
	if !o.ReportInDir {
		return limited(ctx, o)
	}
	fetch := apart
	if o.Self == "" {
		fetch = limited
	}
	err := fetch(ctx, o)
	if err == nil {
		if err = unreserved(o.Dir); err == nil {
			return nil
		}
	}
	reason := untrusted.Bound(fmt.Sprintf("fetching %s: %v", redact.URL(o.URL), err)) + "\n"
	_, _ = io.WriteString(o.Stdout, reason)
	return report(o.Dir, reason)
}

// limited fetches in this process.
func limited(ctx context.Context, o Options) error {
	if o.MaxMemory > 0 {
		if err := limitMemory(o.MaxMemory); err != nil {
			return err
		}
	}
	if o.MaxBytes == 0 {
		return run(ctx, o)
	}
	return within(ctx, o.Dir, o.MaxBytes, func(ctx context.Context) error { return run(ctx, o) })
}

// unreserved refuses a repository that has an entry in the place of the report.
func unreserved(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, warmup.FetchFailed)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the repository has an entry %s at its top, a name that is kept for the report of a fetch that failed: rename it", warmup.FetchFailed)
	}
	return nil
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

// removeAll removes all that is in a directory, and follows no link. It needs little
// memory, however much that is: what fills the directory is the repository's choice.
func removeAll(dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for {
		names, err := some(root)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
}

// some are the names of a part of the entries of a directory; none: it is empty.
func some(root *os.Root) (names []string, err error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	names, err = dir.Readdirnames(1024)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return names, err
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
