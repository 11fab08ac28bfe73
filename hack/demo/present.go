package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// presenter runs the chapters and collects the rows of the table.
type presenter struct {
	*scenario.Scenario
	n    *scenario.Narrator
	rows [][3]string
}

// shown states what a chapter has shown.
func (t *presenter) shown(what string) { t.n.Print("Shown: %s", what) }

// row adds a line to the table at the end.
func (t *presenter) row(what, saw, format string, args ...any) {
	t.rows = append(t.rows, [3]string{what, saw, fmt.Sprintf(format, args...)})
}

// present prepares the cluster and runs all chapters. Before the first it calls prepared.
func present(ctx context.Context, o scenario.Options, n *scenario.Narrator, prepared func(*scenario.Cluster) error) error {
	n.Chapter("1. A cluster with the operator on it")
	cluster, err := scenario.Prepare(ctx, o, n)
	if err != nil {
		return err
	}
	if err := prepared(cluster); err != nil {
		return err
	}
	s, err := cluster.Begin(ctx, namespace, n)
	if err != nil {
		return err
	}
	n.Print("Applied config/samples to namespace %s: a ModProxy, a GoCache, and two kinds of builders that wait for it", namespace)
	t := &presenter{Scenario: s, n: n}
	for _, chapter := range []func(context.Context) error{t.warm, t.verify, t.build, t.corrupt, t.failover} {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("%w\n\nThe cluster is left as it is. Look around:\n%s", err, s.LookAround())
		}
	}
	t.summary()
	return nil
}

func (t *presenter) warm(ctx context.Context) error {
	t.n.Chapter("2. A cache warms itself, through a proxy with two instances")
	proxy, err := t.ProxyReady(ctx)
	if err != nil {
		return err
	}
	t.n.Print("ModProxy goproxy serves at %s; %s instances are healthy", proxy.Status.URL, proxy.Status.Healthy)
	t.n.Print("GoCache ci: a Job downloads the modules of a go.sum and builds the standard library (a minute or two)")
	cache, err := t.Warmed(ctx)
	if err != nil {
		return err
	}
	took := cache.Status.WarmUp.CompletionTime.Sub(cache.Status.WarmUp.StartTime.Time)
	t.n.Print("Warm after %s: %d module versions, %d build entries, %s", took, cache.Status.Counts.Modules, cache.Status.Counts.BuildEntries, cache.Status.Storage.Used)
	t.row("cache warmed through the proxy", took.String(), "%d modules, %d build entries", cache.Status.Counts.Modules, cache.Status.Counts.BuildEntries)
	t.shown("a cache is filled from a go.sum, before any build")
	return nil
}

func (t *presenter) verify(ctx context.Context) error {
	t.n.Chapter("3. A snapshot is created and verified before it is used")
	snap, err := t.Offered(ctx, "")
	if err != nil {
		return err
	}
	v := snap.Status.Verification
	total := v.CompletionTime.Sub(snap.CreationTimestamp.Time)
	t.n.Print("CacheSnapshot %s: a Job read %d MiB of a clone in %s: %s", snap.Name, v.Bytes>>20, v.Duration.Duration, v.Verdict)
	t.n.Print("Its digest names every module and every build entry: %s", v.Digest)
	t.row("snapshot created and verified", total.String(), "%s, %d MiB read in %s", v.Verdict, v.Bytes>>20, v.Duration.Duration)
	t.shown("builds get a state of the cache only after all of it was read, on a clone of it")
	return nil
}

func (t *presenter) build(ctx context.Context) error {
	t.n.Chapter("4. CI pods build offline, each from its own clone")
	clones, err := t.OfflineBuilds(ctx)
	if err != nil {
		return err
	}
	for _, c := range clones {
		t.n.Print("PVC %s is a clone of %s; built there with GOPROXY=off", c.Claim, c.Snapshot)
	}
	t.row("2 replicas built offline", "", "from clones of %s, GOPROXY=off", clones[0].Snapshot)
	t.n.Print("And how long does a build take? First as CI does it without a cache:")
	cold, err := t.ColdBuild(ctx)
	if err != nil {
		return err
	}
	t.n.Print("Cold, modules from the proxy: %s", round(cold))
	warm, err := t.WarmBuild(ctx)
	if err != nil {
		return err
	}
	t.n.Print("On a fresh clone, offline:     %s (%.0f times faster)", round(warm), cold.Seconds()/warm.Seconds())
	t.row("build without a cache", round(cold).String(), "")
	t.row("the same build on a clone", round(warm).String(), "%.0f times faster", cold.Seconds()/warm.Seconds())
	t.shown("builds on a clone need no network, and do not compile what the cache has")
	return nil
}

func (t *presenter) corrupt(ctx context.Context) error {
	t.n.Chapter("5. One bit of a compiled archive changes. The go command would link it silently")
	before, err := t.Offered(ctx, "")
	if err != nil {
		return err
	}
	file, err := t.CorruptArchive(ctx)
	if err != nil {
		return err
	}
	t.n.Print("Flipped one bit of %s on the cache PVC", file)
	start := time.Now()
	snap, err := t.Snapshot(ctx, fmt.Sprint("demo-", start.Unix()))
	if err != nil {
		return err
	}
	v := snap.Status.Verification
	if v.Verdict != v1alpha1.VerdictCorrupt {
		return fmt.Errorf("snapshot %s of the damaged cache is %s", snap.Name, v.Verdict)
	}
	t.n.Print("CacheSnapshot %s: %s\n%s", snap.Name, v.Verdict, v.Message)
	for _, e := range v.Examples {
		t.n.Print("  %s  %s: %s", e.Class, e.Path, e.Detail)
	}
	after, err := t.Offered(ctx, "")
	if err != nil {
		return err
	}
	if after.Name != before.Name {
		return fmt.Errorf("consumers get %s now, and got %s before the damage", after.Name, before.Name)
	}
	t.n.Print("It is never offered: consumers still get %s", after.Name)
	t.row("damaged cache snapshotted", round(time.Since(start)).String(), "%s; consumers still get %s", v.Verdict, after.Name)
	t.shown("content that changed on the volume does not reach builds")
	return nil
}

func (t *presenter) failover(ctx context.Context) error {
	t.n.Chapter("6. A proxy instance is killed under a loop of real go mod download")
	f, err := t.KillInstance(ctx, "blue")
	if err != nil {
		return err
	}
	for _, line := range f.Failed {
		t.n.Print("%s", line)
	}
	t.n.Print("%d downloads with empty caches, %d failed", f.Commands, len(f.Failed))
	t.row("instance blue killed under load", "", "%d of %d downloads failed", len(f.Failed), f.Commands)
	if len(f.Failed) > 0 {
		return fmt.Errorf("%d client commands failed", len(f.Failed))
	}
	t.shown("the go command goes on with the other instance")
	return nil
}

func (t *presenter) summary() {
	t.n.Chapter("What happened")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	for _, r := range t.rows {
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", r[0], r[1], r[2])
	}
	_ = w.Flush()
	t.n.Chapter("Look around (the cluster stays until make demo-down)")
	fmt.Print(t.LookAround())
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
