package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/vcs"
	"gocache.dev/operator/internal/domain/exitcode"
)

func newVCS() *cobra.Command {
	var o vcs.Options
	var listen string
	cmd := &cobra.Command{
		Use:   "vcs",
		Short: "Serve private modules from version control, with the go command and git of this image",
		Long: `Serve the GOPROXY protocol for modules that match the patterns, and fetch them with
the go command and git. Only https and ssh are used. Meant to listen on a
loopback address beside gocache-proxy, which checks and stores what comes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Dir == "" || o.Patterns == "" {
				return usage(errors.New("vcs needs --dir and --modules"))
			}
			var err error
			if o.Self, err = os.Executable(); err != nil {
				return err
			}
			o.LookupEnv, o.Now = os.LookupEnv, time.Now
			o.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			server, err := vcs.New(o)
			if err != nil {
				return err
			}
			var lc net.ListenConfig
			listener, err := lc.Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("listen on %s: %w", listen, err)
			}
			o.Log.Info("Serving", "address", listener.Addr().String(), "modules", o.Patterns)
			return server.Serve(cmd.Context(), listener)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9105", "address to serve on")
	f.StringVar(&o.Dir, "dir", "", "directory for repositories, which is emptied first")
	f.StringVar(&o.Patterns, "modules", "", "patterns of module paths, in the syntax of GOPRIVATE")
	f.StringVar(&o.Access.Secret, "secret", "", "directory with the files netrc, username and password, or identity and known_hosts; read for each use")
	f.StringVar(&o.Access.Hosts, "hosts", "", "hosts that the credentials may be sent to, such as git.example.com,*.corp.example (default: none)")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates in PEM format that are trusted beside the public authorities")
	f.StringVar(&o.GoCommand, "go", "go", "the go command")
	f.Int64Var(&o.MaxBytes, "max-bytes", 8<<30, "disk space for repositories")
	f.Int64Var(&o.MaxMemory, "max-memory", 1<<30, "bytes of memory that each process of a command may take")
	f.Int64Var(&o.MaxFetches, "max-fetches", 8, "commands that run at once")
	f.DurationVar(&o.Timeout, "timeout", 9*time.Minute, "how long one command may take")
	return cmd
}

// newVCSHelp is how git and the go command get credentials from this program.
func newVCSHelp() *cobra.Command {
	return &cobra.Command{
		Use: vcs.HelpCommand, Short: "Answer git and the go command of gocache-agent vcs", Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := vcs.Help(cmd.Context(), args, vcs.Process{Getenv: os.Getenv, Now: time.Now, In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Errors: cmd.ErrOrStderr()})
			if err == nil && code == 0 {
				return nil
			}
			if err == nil {
				err = errReported
			}
			return &exitcode.Error{Code: code, Err: err}
		},
	}
}
