package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/status"
)

// messageWidth is where messages end in a table, unless -o wide is set.
const messageWidth = 80

// watchInterval is the time between two reads with --watch. Each lists five
// kinds in one namespace.
const watchInterval = 2 * time.Second

func (a *app) statusCommand() *cobra.Command {
	var output string
	var all, watch bool
	cmd := &cobra.Command{
		Use:   "status [TARGET]",
		Short: "Show caches and proxies with all that belongs to them",
		Long: `Show GoCaches with their PVC, snapshots, the PVCs that were populated from
them, and requests, and ModProxies with their instances.

TARGET is the name of a GoCache, or KIND/NAME. Without it, all are shown.`,
		Example: `  kubectl gocache status
  kubectl gocache status ci --watch
  kubectl gocache status modproxy/goproxy -o yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.complete(v1alpha1.GoCacheKind, v1alpha1.ModProxyKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownFormat(output, formatWide); err != nil {
				return err
			}
			c, namespace, err := a.connect()
			if err != nil {
				return err
			}
			o := status.Options{Namespace: namespace}
			if all {
				o.Namespace = ""
			}
			if len(args) > 0 {
				if all {
					return fmt.Errorf("TARGET %s is in one namespace: remove --all-namespaces", args[0])
				}
				t, err := parseTarget(args[0], v1alpha1.GoCacheKind, v1alpha1.ModProxyKind)
				if err != nil {
					return err
				}
				o.Kind, o.Name = t.Kind, t.Name
			}
			print := func(ctx context.Context) (string, error) {
				report, err := status.Read(ctx, c, o)
				if err != nil {
					return "", err
				}
				return a.render(report, output, all)
			}
			if watch {
				return a.watch(cmd.Context(), print)
			}
			shown, err := print(cmd.Context())
			if err == nil {
				_, err = io.WriteString(a.Out, shown)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "json, yaml, or wide for messages of any length")
	f.BoolVarP(&all, "all-namespaces", "A", false, "all namespaces")
	f.BoolVarP(&watch, "watch", "w", false, "show it again when it has changed, until interrupted")
	return cmd
}

// watch shows a text whenever it has changed.
func (a *app) watch(ctx context.Context, show func(context.Context) (string, error)) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for before := ""; ; {
		shown, err := show(ctx)
		if ctx.Err() != nil {
			return nil // interrupted, as a watch ends
		}
		if err != nil {
			return err
		}
		if shown != before {
			separator := ""
			if a.color { // a terminal: from the top
				separator = "\x1b[H\x1b[2J"
			} else if before != "" {
				separator = "\n"
			}
			if _, err := io.WriteString(a.Out, separator+shown); err != nil {
				return err
			}
			before = shown
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// render is the report in one of the formats.
func (a *app) render(r status.Report, output string, namespaces bool) (string, error) {
	if shown, ok, err := encoded(output, r); ok {
		return shown, err
	}
	var b strings.Builder
	if len(r.Items) == 0 {
		b.WriteString("No GoCaches or ModProxies found.\n")
	} else {
		b.WriteString(a.tree(r, output == formatWide, namespaces) + "\n")
	}
	for _, note := range r.Notes {
		b.WriteString("\nNote: " + note + ".\n")
	}
	return b.String(), nil
}

func (a *app) tree(r status.Report, wide, namespaces bool) string {
	headers := []any{"NAME", "STATE", "AGE", "MESSAGE"}
	if namespaces {
		headers = append([]any{"NAMESPACE"}, headers...)
	}
	t := newTable(headers...)
	for _, row := range r.Rows() {
		n := row.Node
		age := ""
		if n.Since != nil {
			age = duration.HumanDuration(a.now().Sub(n.Since.Time))
		}
		message := oneLine(n.Message)
		if !wide {
			message = text.Snip(message, messageWidth, "…")
		}
		cells := table.Row{row.Branch + n.Kind + "/" + n.Name, a.paint(n.Level, n.State), age, message}
		if namespaces {
			cells = append(table.Row{n.Namespace}, cells...)
		}
		t.AppendRow(cells)
	}
	return t.Render()
}
