package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/fetch"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/egress"
)

func newFetch() *cobra.Command {
	var o fetch.Options
	var memory, disk bytesValue
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Write the files of a git repository's newest commit to a directory",
		Long:  "Write the files of a git repository's newest commit to a directory. HTTPS_PROXY,\nHTTP_PROXY and NO_PROXY name the proxies that the server is reached through.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.URL == "" || o.Dir == "" {
				return usage(errors.New("fetch needs --url and --dir"))
			}
			var err error
			if o.Proxies, err = egress.FromEnvironment(os.Getenv); err != nil {
				return usage(err)
			}
			if err = memoryOfContainer(cmd, &memory); err != nil {
				return usage(err)
			}
			if o.Self, err = os.Executable(); err != nil {
				return err
			}
			o.MaxMemory, o.MaxBytes, o.Stdout = int64(memory), int64(disk), cmd.OutOrStdout()
			return fetch.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.URL, "url", "", "repository: https, http or ssh")
	f.StringVar(&o.Ref, "ref", "", "branch, tag or commit (default: the default branch)")
	f.StringVar(&o.Commit, "commit", "", "commit that the ref is expected to name; another commit is fetched and reported")
	f.StringVar(&o.Dir, "dir", "", "empty directory to write to")
	f.StringArrayVar(&o.Sparse, "sparse", nil, "directory of the repository to write, with the files of those on the way there; may be repeated (default: all)")
	f.BoolVar(&o.Submodules, "submodules", false, "write submodules as well; credentials are sent to the host of --url alone")
	f.BoolVar(&o.ReportInDir, "report-in-dir", false, "on failure empty the directory, write the reason to a file in it, for the warm-up that follows, and succeed")
	f.DurationVar(&o.Timeout, "timeout", 0, "with --report-in-dir: how long the fetch may take (default: as long as it needs)")
	f.Var(&disk, "max-bytes", "disk space for the files and what is sent of the history, such as 8Gi (default: any)")
	f.Var(&memory, "max-memory", "memory of the command, such as 512Mi; a repository that needs more is not fetched (default: "+agentcommand.FetchMemoryVariable+", or any)")
	f.StringVar(&o.Secret, "secret", "", "directory with the files username and password, or identity and known_hosts")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates in PEM format that are trusted beside the public authorities")
	return cmd
}

// memoryOfContainer reads the limit of the container, unless the flag sets one.
func memoryOfContainer(cmd *cobra.Command, memory *bytesValue) error {
	text := os.Getenv(agentcommand.FetchMemoryVariable)
	if text == "" || cmd.Flags().Changed("max-memory") {
		return nil
	}
	if err := memory.Set(text); err != nil {
		return fmt.Errorf("%s: %w", agentcommand.FetchMemoryVariable, err)
	}
	return nil
}
