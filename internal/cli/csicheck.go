package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/cli/csicheck"
	"gocache.dev/operator/internal/cli/temporary"
)

// workFlags are those of commands that start pods.
type workFlags struct {
	image, operatorNamespace string
	timeout                  time.Duration
}

func (w *workFlags) add(cmd *cobra.Command, timeout time.Duration, what string) {
	f := cmd.Flags()
	f.StringVar(&w.image, "image", "", "image with the agent (default: that of the operator)")
	f.StringVar(&w.operatorNamespace, "operator-namespace", "gocache-system", "namespace of the operator, whose image is used")
	f.DurationVar(&w.timeout, "timeout", timeout, what)
}

// check refuses a limit in which no pod starts, and which a Job cannot have.
func (w *workFlags) check() error {
	if w.timeout < time.Second {
		return fmt.Errorf("--timeout %s: want a second or more", w.timeout)
	}
	return nil
}

func (a *app) csicheckCommand() *cobra.Command {
	var w workFlags
	var keep bool
	var output string
	size := "1Gi"
	o := csicheck.Options{}
	cmd := &cobra.Command{
		Use:   "csicheck STORAGECLASS",
		Short: "Try whether a StorageClass can do what caches need: snapshots, clones, larger clones, expansion",
		Long: `Create a volume of a StorageClass, a snapshot of it, a clone and a larger clone
from the snapshot, compare their content with what was written, and expand the
volume. Prints what works, how long it took, and a command for what does not.

All objects are created in the namespace of the command and removed at its end,
also when it fails or is interrupted. Exits with 1 if a check failed.`,
		Example: `  kubectl gocache csicheck fast -n ci
  kubectl gocache csicheck fast --size 10Gi --timeout 10m -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.propose(storageClasses),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Size, err = resource.ParseQuantity(size); err != nil || o.Size.Sign() <= 0 {
				return fmt.Errorf("--size %q: want a size such as 1Gi", size)
			}
			if err := w.check(); err != nil {
				return err
			}
			o.Timeout = w.timeout
			if err := knownFormat(output); err != nil {
				return err
			}
			set, err := a.begin("gocache-csicheck")
			if err != nil {
				return err
			}
			set.Keep = keep
			if o.Image, err = w.find(cmd.Context(), set.Client); err != nil {
				return err
			}
			shown := a.activity(csicheck.Steps, true)
			o.StorageClass, o.Now, o.Progress = args[0], a.now, shown.begin
			report, err := csicheck.Run(cmd.Context(), set, o)
			if err := end(cmd, shown, set, err); err != nil {
				return err
			}
			text, err := a.renderCSICheck(report, output)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(a.Out, text); err != nil {
				return err
			}
			if report.Failed() {
				return ErrReported
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.VolumeSnapshotClass, "snapshot-class", "", "VolumeSnapshotClass (default: that which a GoCache would use)")
	f.StringVar(&size, "size", size, "size of the volume; the larger clone and the expanded volume have twice of it")
	f.BoolVar(&keep, "keep", false, "leave the objects for an examination; they are removed when their Job has reached its deadline")
	f.StringVarP(&output, "output", "o", "", "json or yaml")
	w.add(cmd, 2*time.Minute, "how long each check may take")
	return cmd
}

// find is the image that is named, or else that of the operator.
func (w *workFlags) find(ctx context.Context, c client.Reader) (string, error) {
	if w.image != "" {
		return w.image, nil
	}
	return temporary.OperatorImage(ctx, c, w.operatorNamespace)
}

// begin is a set of temporary objects in the namespace of the command.
func (a *app) begin(prefix string) (*temporary.Set, error) {
	c, namespace, err := a.connect()
	if err != nil {
		return nil, err
	}
	return &temporary.Set{Client: c, Namespace: namespace, Name: prefix + "-" + a.suffix(), Interval: a.interval / 4}, nil
}

// end removes what a command has created, however it went.
func end(cmd *cobra.Command, shown *activity, set *temporary.Set, failed error) error {
	defer shown.end()
	switch text := "removing what was created"; {
	case cmd.Context().Err() != nil:
		shown.begin("interrupted: " + text)
	case shown.bar != nil:
		shown.begin(text)
	}
	err := set.Remove(cmd.Context())
	switch {
	case failed == nil:
		return err
	case err == nil:
		return failed
	}
	return fmt.Errorf("%w; %w", failed, err)
}

func (a *app) renderCSICheck(r csicheck.Report, output string) (string, error) {
	if shown, ok, err := encoded(output, r); ok {
		return shown, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "StorageClass %s, driver %s", r.StorageClass, r.Driver)
	if r.VolumeSnapshotClass != "" {
		fmt.Fprintf(&b, ", VolumeSnapshotClass %s", r.VolumeSnapshotClass)
	}
	b.WriteString("\n")
	t := newTable("", "CHECK", "TIME", "RESULT")
	for _, c := range r.Checks {
		took := ""
		if c.Seconds > 0 {
			took = fmt.Sprintf("%.1fs", c.Seconds)
		}
		t.AppendRow([]any{a.sign(c.Level), c.Name, took, c.Message})
		if c.Fix != "" {
			t.AppendRow([]any{"", "", "", "  " + c.Fix})
		}
	}
	b.WriteString(t.Render() + "\n")
	return b.String(), nil
}
