package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
)

func newStore() *cobra.Command {
	o := store.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Monitor the store of a module proxy: whether it is usable and intact, and how full it is",
		Long: `Watch over a module proxy's store from beside it.

Pages: /readyz (the volume is mounted and the same one, has room, and the server
beside answers), /report (the last check, as JSON), /metrics and /healthz. A POST
to /check that brings the token as "Authorization: Bearer" asks for a check. Without --layout the store is not checked.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Store == "" {
				return usage(errors.New("store needs --store"))
			}
			o.Stderr = cmd.ErrOrStderr()
			w, err := store.New(o)
			if err != nil {
				return err
			}
			if o.Layout != "" {
				// What is only not there yet makes checks inconclusive; it must
				// not keep the server beside from being guarded.
				var wrong *caches.UsageError
				if _, err := o.Flags.Options(cmd.Context(), time.Now()); errors.As(err, &wrong) {
					return usage(err)
				}
			}
			return w.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	cacheFlags(f, &o.Flags)
	o.Workers = 1 // it runs beside a server
	f.StringVar(&o.Listen, "listen", ":9103", "address of the pages")
	f.BoolVar(&o.Prepare, "prepare", false, "make the store's directory if there is none, and mark the volume that it lies on")
	f.StringVar(&o.Server, "server", "", "URL of a page of the server beside, for /readyz")
	f.Var((*bytesValue)(&o.VolumeSize), "volume-size", "size of the volume: where its file system is larger, others share it, and only the volume's own files count; 0: not known")
	f.Var((*bytesValue)(&o.MinFree), "min-free", "bytes that the volume must have left to be ready")
	f.DurationVar(&o.Interval, "interval", 24*time.Hour, "time between checks; 0: only at the start and when asked")
	f.Var((*bytesValue)(&o.BytesPerSecond), "bytes-per-second", "how much a check may read in a second; 0: no bound")
	f.StringVar(&o.State, "state", "", "file to record intact content in (a manifest, compressed)")
	f.BoolVar(&o.Withdraw, "withdraw", false, "remove each entry that a check finds corrupt, so that the server fetches it again")
	f.StringVar(&o.TokenFile, "token-file", "", "file with the token that a request for a check must bring; without it none is taken")
	f.BoolVar(&o.Once, "once", false, "check once and end")
	return cmd
}
