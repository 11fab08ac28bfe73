package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/diff"
	"gocache.dev/operator/internal/cli/status"
	"gocache.dev/operator/internal/domain/manifest"
)

// shownChanges are the kinds of changes, the most alarming first, with what each
// means.
var shownChanges = []struct {
	kind    manifest.ChangeKind
	level   status.Level
	meaning string
}{
	{manifest.Changed, status.LevelFailure, "other content under the same name"},
	{manifest.Removed, status.LevelWarning, "removed"},
	{manifest.Added, status.LevelOK, "added"},
	{manifest.Repacked, status.LevelProgress, "the same content in another archive"},
	{manifest.Parts, status.LevelProgress, "with other parts, such as go.mod without archive"},
	{manifest.Rebuilt, status.LevelProgress, "built again with another output"},
}

func (a *app) diffCommand() *cobra.Command {
	var w workFlags
	var output string
	var limit int
	var entries bool
	cmd := &cobra.Command{
		Use:   "diff CACHESNAPSHOT CACHESNAPSHOT",
		Short: "Compare the content of two snapshots of caches: added, removed, and other content under the same name",
		Long: `Compare the content of two snapshots of caches by the manifests that their
writers have left on the volumes: what was added and removed from the first to
the second, and what has other content under the same name.

A Job on a clone of each snapshot reads the manifests, unless both snapshots
were verified with the same digest. It is created in the namespace of the command
and removed at its end, also when it fails or is interrupted. Exits with 1 if
content has changed under the same name.`,
		Example: `  kubectl gocache diff ci-1 ci-2
  kubectl gocache diff ci-1 ci-2 -o json | jq -r 'select(.change == "changed") | .key'`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeBoth(anySnapshot, v1alpha1.CacheSnapshotKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output %q: want json", output)
			}
			if err := w.check(); err != nil {
				return err
			}
			set, err := a.begin("gocache-diff")
			if err != nil {
				return err
			}
			shown := changes{limit: limit, entries: entries, lines: map[manifest.ChangeKind][]string{}}
			each := shown.add
			if output == "json" {
				encoder := json.NewEncoder(a.Out)
				each = func(c manifest.Change) error { return encoder.Encode(c) }
			}
			work := a.activity(0, output == "")
			result, err := diff.Run(cmd.Context(), set, diff.Options{
				From: args[0], To: args[1], Timeout: w.timeout, Progress: work.begin, Logs: a.logs,
				Image: func(ctx context.Context) (string, error) { return w.find(ctx, set.Client) },
			}, each)
			if err := end(cmd, work, set, err); err != nil {
				return err
			}
			for _, note := range result.Notes {
				_, _ = fmt.Fprintln(a.ErrOut, "Note: "+note)
			}
			if output == "" {
				if _, err := io.WriteString(a.Out, a.renderDiff(result, &shown)); err != nil {
					return err
				}
			}
			if result.Counts[manifest.Changed] > 0 {
				return ErrReported
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "json: a line for each change")
	f.IntVar(&limit, "limit", 100, "how many names of each kind of change are shown")
	f.BoolVar(&entries, "build-cache", false, "show entries of the build cache as well, not only how many")
	w.add(cmd, 10*time.Minute, "how long the comparison may take")
	return cmd
}

// changes keeps what is shown of a comparison of any length.
type changes struct {
	limit   int
	entries bool
	lines   map[manifest.ChangeKind][]string
	// modules are how many changes of each kind are about modules.
	modules, build map[manifest.ChangeKind]int
}

func (c *changes) add(change manifest.Change) error {
	if c.modules == nil {
		c.modules, c.build = map[manifest.ChangeKind]int{}, map[manifest.ChangeKind]int{}
	}
	kind, name, _ := strings.Cut(change.Key, " ")
	module := kind == "m" || kind == "s"
	count := c.build
	if module {
		count = c.modules
	}
	count[change.Kind]++
	if !module && !c.entries && change.Kind != manifest.Changed {
		return nil
	}
	if len(c.lines[change.Kind]) < c.limit {
		label := map[string]string{"m": "module", "s": "module", "a": "action", "d": "output"}[kind]
		c.lines[change.Kind] = append(c.lines[change.Kind], label+" "+printable(name))
	}
	return nil
}

// printable keeps names from a log from driving a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func (a *app) renderDiff(r diff.Result, c *changes) string {
	total := 0
	for _, n := range r.Counts {
		total += n
	}
	switch {
	case total == 0 && r.Checked:
		return "The same content: " + r.To + "\n"
	case total == 0: // a file may have changed after its manifest was written
		return "Their manifests list the same content: " + r.To + "\n"
	}
	var b strings.Builder
	for _, s := range shownChanges {
		n := r.Counts[s.kind]
		if n == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d %s, %d %s of the build cache\n", a.paint(s.level, s.meaning), c.modules[s.kind], plural(c.modules[s.kind], "module", "modules"),
			c.build[s.kind], plural(c.build[s.kind], "entry", "entries"))
		for _, line := range c.lines[s.kind] {
			b.WriteString("  " + line + "\n")
		}
		shownOf := c.modules[s.kind]
		if c.entries || s.kind == manifest.Changed {
			shownOf = n
		}
		if more := shownOf - len(c.lines[s.kind]); more > 0 {
			fmt.Fprintf(&b, "  and %d more (--limit shows more)\n", more)
		}
	}
	return b.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
