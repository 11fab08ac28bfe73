package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/verify"
	"gocache.dev/operator/internal/domain/exitcode"
)

func newVerify() *cobra.Command {
	o := verify.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that caches hold exactly what the go command put there",
		Long: `Verify hashes everything in a module cache, a build cache or a proxy's store
that the go command would use. It only reads.

Exit codes: 0 Intact, 3 Corrupt, 2 wrong usage, anything else Inconclusive.`,
		Example: `  gocache-agent verify --modcache $(go env GOMODCACHE) --buildcache $(go env GOCACHE)`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Stdout, o.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			o.Progress = !o.JSON && isTerminal(os.Stderr)
			v, err := verify.Run(cmd.Context(), o)
			if err != nil {
				return checkFailed(err)
			}
			if code := exitcode.OfVerdict(v.Verdict); code != exitcode.OK && !o.JSON {
				return &exitcode.Error{Code: code, Err: errReported}
			}
			return exit(exitcode.OfVerdict(v.Verdict), string(v.Verdict)+": "+v.Message)
		},
	}
	f := cmd.Flags()
	cacheFlags(f, &o.Flags)
	f.StringVar(&o.Root, "root", "", "root of the volume, where its writer left records (default: the directory above the caches)")
	f.StringVar(&o.Manifest, "manifest", "", "write the canonical manifest to this file, compressed")
	f.BoolVar(&o.JSON, "json", false, "print the verdict as JSON")
	f.StringVar(&o.TerminationLog, "termination-log", "", "also write the verdict here, in at most 4096 bytes")
	return cmd
}

// cacheFlags are the flags of all commands that check.
func cacheFlags(f *pflag.FlagSet, c *caches.Flags) {
	f.StringVar(&c.ModCache, "modcache", "", "module cache (GOMODCACHE)")
	f.StringVar(&c.BuildCache, "buildcache", "", "build cache (GOCACHE)")
	f.StringVar(&c.Store, "store", "", "a module proxy's store")
	f.StringVar(&c.Layout, "layout", "", "layout of the store: goproxy or athens")
	f.StringVar(&c.Volume, "volume", "", "root of the volume, if only the operator writes to it: entries that its writer never leaves are Corrupt")
	f.BoolVar(&c.Live, "live", false, "with --volume: a writer is to run before a snapshot is created; the entries that it removes are Recoverable")
	f.BoolVar(&c.NeverSealed, "never-sealed", false, "no writer has reported such a digest: nothing vouches for the content, and the verdict is Inconclusive at best")
	f.StringVar(&c.Sealed, "sealed-digest", "", "with --volume: digest of the manifest that the last writer reported; what differs from it is Unsealed")
	f.StringArrayVar(&c.GoSum, "gosum", nil, "go.sum file to trust; may be given several times")
	f.BoolVar(&c.FullCoverage, "full-coverage", false, "module versions that no trust data name make the verdict Inconclusive")
	f.StringArrayVar(&c.OptionalGoSum, "gosum-if-present", nil, "as --gosum, for a file that may be absent; may be given several times")
	f.StringArrayVar(&c.SumDB, "sumdb", nil, "checksum database to trust, in the syntax of GOSUMDB, with its key; may be given several times")
	f.StringVar(&c.SumDBLatest, "sumdb-latest", "", "signed tree head of the checksum database (GOPATH/pkg/sumdb/<name>/latest)")
	f.BoolVar(&c.SumDBOnline, "sumdb-online", false, "ask the checksum database for what cached records do not prove")
	f.StringVar(&c.GoNoSumDB, "gonosumdb", "", "with --sumdb-online: modules that the checksum database is not asked for, in the syntax of GONOSUMDB")
	f.StringVar(&c.Baseline, "baseline", "", "manifest of an earlier full check: zips with the same raw sha256 are not inflated again")
	f.StringVar(&c.BaselineDigest, "baseline-digest", "", "digest that the baseline must have")
	f.StringVar(&c.Reference, "reference", "", "root of a volume that was verified earlier: the same module versions must have the same content")
	f.StringVar(&c.ReferenceDigest, "reference-digest", "", "digest that the reference was verified to have")
	f.IntVar(&c.Workers, "workers", 0, "files to read at once (default: twice the processors)")
	f.StringVar(&c.FailOn, "fail-on", "corrupt", "least severity that makes the verdict Corrupt: recoverable or corrupt")
}

// checkFailed gives an error of a command that checks its exit code: where
// nothing was checked, nothing is proven.
func checkFailed(err error) error {
	var wrong *caches.UsageError
	if errors.As(err, &wrong) {
		return usage(err)
	}
	return &exitcode.Error{Code: exitcode.Inconclusive, Err: err}
}

// isTerminal reports whether the output is a terminal, and not /dev/null.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ) //nolint:gosec // a descriptor is a small number
	return err == nil
}
