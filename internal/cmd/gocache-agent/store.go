package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/store"
)

func newStore() *cobra.Command {
	o := store.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Watch over a module proxy's store: how full it is, and whether it is sound",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Store == "" {
				return usage(errors.New("store needs --store and --layout"))
			}
			if _, err := o.Options(cmd.Context(), time.Now()); err != nil {
				return checkFailed(err)
			}
			o.Stderr = cmd.ErrOrStderr()
			return store.New(o).Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	cacheFlags(f, &o.Flags)
	o.Workers = 1 // it runs beside a server
	f.StringVar(&o.Listen, "listen", ":9103", "address of /metrics, /verdict and /healthz")
	f.DurationVar(&o.Interval, "interval", time.Hour, "time between checks")
	f.StringVar(&o.State, "state", "", "file to remember what was found sound in (a manifest, compressed)")
	f.BoolVar(&o.Once, "once", false, "check once and end")
	return cmd
}
