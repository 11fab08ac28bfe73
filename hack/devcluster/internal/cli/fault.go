package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/faults"
)

func newFault(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Make the CSI driver get things wrong, from the next call on",
	}
	cmd.AddCommand(newFaultSet(o), newFaultClear(o), newFaultList(o))
	return cmd
}

func newFaultSet(o *options) *cobra.Command {
	var rule faults.Rule
	var delay, readyAfter, every, lazy time.Duration
	names := make([]string, len(faults.Operations))
	for i, op := range faults.Operations {
		names[i] = string(op)
	}
	cmd := &cobra.Command{
		Use:       "set OPERATION",
		Short:     "Add a fault to " + strings.Join(names, ", "),
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		Example: "  devcluster fault set snapshot --error 'no space left in the array' --times 3\n" +
			"  devcluster fault set snapshot --not-ready --namespace ci\n" +
			"  devcluster fault set restore --delay 30s",
		RunE: func(_ *cobra.Command, args []string) error {
			rule.Operation = faults.Operation(args[0])
			rule.Delay, rule.ReadyAfter = faults.Duration(delay), faults.Duration(readyAfter)
			rule.Every, rule.Lazy = faults.Duration(every), faults.Duration(lazy)
			if err := rule.Validate(); err != nil {
				return err
			}
			return o.changeFaults(func(s *faults.Set) { s.Rules = append(s.Rules, rule) })
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&delay, "delay", 0, "take so much longer")
	flags.StringVar(&rule.Error, "error", "", "fail with this message")
	flags.StringVar(&rule.Code, "code", "", "gRPC code of the failure (default Internal)")
	flags.IntVar(&rule.Times, "times", 0, "only for so many calls (default: all)")
	flags.BoolVar(&rule.Each, "each", false, "so many calls for each volume or snapshot, and not in all")
	flags.StringVar(&rule.Namespace, "namespace", "", "only for objects in a namespace (pattern)")
	flags.StringVar(&rule.Name, "object", "", "only for a PVC or VolumeSnapshot of this name (pattern)")
	flags.BoolVar(&rule.NotReady, "not-ready", false, "snapshot: readyToUse stays false")
	flags.DurationVar(&readyAfter, "ready-after", 0, "snapshot: readyToUse is false until so much later")
	flags.BoolVar(&rule.Unsynced, "unsynced", false, "snapshot: leave out data that is not on disk yet")
	flags.BoolVar(&rule.SizeUnknown, "size-unknown", false, "snapshot: its size is 0")
	flags.BoolVar(&rule.SameSize, "same-size", false, "restore, clone: refuse another size than the source's")
	flags.DurationVar(&every, "every", 0, "restore, clone, snapshot: one for each source in such a time, others fail")
	flags.DurationVar(&lazy, "lazy", 0, "restore: each 512 KiB are loaded when they are first read, in such a time")
	flags.BoolVar(&rule.WhileCopied, "while-copied", false, "delete-snapshot: refused while a volume that was made from it exists")
	return cmd
}

func newFaultClear(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [OPERATION]",
		Short: "Remove all faults, or those of one operation",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return o.changeFaults(func(s *faults.Set) {
				s.Rules = slices.DeleteFunc(s.Rules, func(r faults.Rule) bool {
					return len(args) == 0 || r.Operation == faults.Operation(args[0])
				})
			})
		},
	}
}

func newFaultList(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print the faults, as they are in the file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := o.faultsFile()
			if err != nil {
				return err
			}
			set, err := faults.Load(file)
			if err != nil {
				return err
			}
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(set)
		},
	}
}

func (o *options) faultsFile() (string, error) {
	m, err := o.manager(nil)
	if err != nil {
		return "", err
	}
	record, err := m.Record()
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no cluster %s", o.spec.Name)
	}
	return record.Paths().Faults(), err
}

func (o *options) changeFaults(change func(*faults.Set)) error {
	file, err := o.faultsFile()
	if err != nil {
		return err
	}
	set, err := faults.Load(file)
	if err != nil {
		return err
	}
	change(&set)
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	return cluster.WriteFile(file, append(b, '\n'), 0o644)
}
