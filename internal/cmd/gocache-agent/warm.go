package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/warmup"
)

func newWarm() *cobra.Command {
	o := warm.Options{Clock: time.Now}
	umask := "0002"
	var sources []string
	var stopAfter time.Duration
	cmd := &cobra.Command{
		Use:   "warm",
		Short: "Fill caches by running the go command on sources, and record what they hold",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mask, err := strconv.ParseUint(umask, 8, 9)
			if err != nil {
				return usage(fmt.Errorf("--umask %q: must be octal, such as 0002", umask))
			}
			if o.ModCache == "" || o.BuildCache == "" {
				return usage(errors.New("warm needs --modcache and --buildcache"))
			}
			for _, text := range sources {
				s, err := warmup.ParseSource(text)
				if err != nil {
					return usage(fmt.Errorf("--source: %w", err))
				}
				o.Sources = append(o.Sources, s)
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program, which go test is to run in place of tests: %w", err)
			}
			o.Instead = strconv.Quote(self) + " " + skipTest
			o.Umask, o.Env = int(mask), os.Environ()
			o.Stdout, o.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if stopAfter > 0 {
				o.Stop = time.After(stopAfter)
			}
			r, err := warm.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return exit(map[string]int{warmup.Succeeded: exitcode.OK, warmup.Corrupt: exitcode.Corrupt, warmup.Failed: exitcode.Failed}[r.Outcome], r.Outcome+": "+r.Summary())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ModCache, "modcache", "", "module cache to fill (GOMODCACHE)")
	f.StringVar(&o.BuildCache, "buildcache", "", "build cache to fill (GOCACHE)")
	f.StringVar(&o.Root, "root", "", "root of the volume (default: the directory above the module cache)")
	f.StringArrayVar(&sources, "source", nil, `directory with go.mod, go.sum and a list of packages, or a source as JSON, such as {"name":"app","dir":"/src/app","repository":true}; may be given several times`)
	f.StringVar(&o.Go, "go", "go", "go command")
	f.StringVar(&o.ExpectGo, "expect-go", "", "Go release that the go command must be, such as 1.26.8, or 1.26 for any of it; with another one nothing is written")
	f.StringVar(&o.Sealed, "sealed-digest", "", "digest of the manifest that the last writer reported: other entries are removed first")
	f.StringVar(&o.ProxyURL, "proxy-url", "", "https URL of the module proxy that requires the credentials in --proxy-credentials")
	f.StringVar(&o.ProxyCredentials, "proxy-credentials", "", "directory with the files username and password for --proxy-url; the go command gets them in a netrc file that is removed at the end")
	f.BoolVar(&o.NeverSealed, "never-sealed", false, "no writer has reported such a digest: what the caches hold is removed first")
	f.DurationVar(&stopAfter, "stop-after", 0, "how long to work at most: then the content is recorded and the warm-up fails, so that the next one continues (default: without limit)")
	f.StringVar(&umask, "umask", umask, "umask for what is written, octal")
	f.BoolVar(&o.JSON, "json", false, "end with the result as a line of JSON")
	f.StringVar(&o.TerminationLog, "termination-log", "", "also write the result here, in at most 4096 bytes")
	return cmd
}

// skipTest is the command that go test runs in place of tests.
const skipTest = "skip-test"

// newSkipTest makes it: what a warm-up compiles is never run.
func newSkipTest() *cobra.Command {
	return &cobra.Command{
		Use: skipTest, Short: "Do nothing, successfully: warm-ups let go test run this in place of tests",
		Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return nil },
	}
}

func newUsage() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Print how full the volume of a directory is, as JSON",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			space, err := volume.Measure(dir)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(space)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "a directory of the volume")
	return cmd
}
