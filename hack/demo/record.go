package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gocache.dev/operator/test/scenario"
)

// pictures are the recordings of docs/recordings, by name. Each is what the commands print
// on a terminal. Standard error has the progress, which a picture cannot show.
var pictures = []struct {
	name     string
	commands []string
}{
	{"kubectl-gocache-status", []string{"kubectl gocache status"}},
	{"kubectl-gocache-doctor", []string{"kubectl gocache doctor"}},
	{"kubectl-gocache-csicheck", []string{"kubectl gocache csicheck standard"}},
	{"kubectl-get-gocaching", []string{"kubectl get gocaching"}},
}

// record plays the demo under Prometheus. Then it runs commands on a terminal, in the
// namespace of the demo, and draws what they print, and the dashboard.
func record(ctx context.Context, o scenario.Options, n *scenario.Narrator, freeze string) error {
	var cluster *scenario.Cluster
	began := time.Now()
	if err := present(ctx, o, n, func(c *scenario.Cluster) error {
		cluster, began = c, time.Now()
		_, err := c.StartPrometheus(ctx)
		return err
	}); err != nil {
		return err
	}
	if err := dashboard(ctx, cluster, time.Since(began)); err != nil {
		return err
	}
	n.Print("Drew docs/recordings/dashboard.svg")
	return terminals(ctx, cluster, n, freeze)
}

// dashboard draws the dashboard over what Prometheus has of the demo.
func dashboard(ctx context.Context, c *scenario.Cluster, last time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	proxy := exec.CommandContext(ctx, c.Kubectl, "--kubeconfig", c.Kubeconfig, "proxy", "--port", "0") //nolint:gosec // kubectl
	out, err := proxy.StdoutPipe()
	if err != nil {
		return err
	}
	if err := proxy.Start(); err != nil {
		return err
	}
	defer func() { cancel(); _ = proxy.Wait() }() // it was ended
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("kubectl proxy: %w", err)
	}
	address := strings.TrimSpace(line[strings.LastIndex(line, " ")+1:])
	draw := exec.CommandContext(ctx, "go", "-C", filepath.Join(scenario.Root(), "hack", "monitoring"), "run", "./draw", //nolint:gosec // of this tree
		"-prometheus", "http://"+address+scenario.PrometheusPath, "-namespace", namespace, "-last", last.Round(time.Second).String(),
		filepath.Join(scenario.Root(), "docs", "recordings", "dashboard.svg"))
	if out, err := draw.CombinedOutput(); err != nil {
		return fmt.Errorf("draw the dashboard: %w\n%s", err, out)
	}
	return nil
}

func terminals(ctx context.Context, cluster *scenario.Cluster, n *scenario.Narrator, freeze string) error {
	dir, err := os.MkdirTemp("", "recordings")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kubeconfig, err := inNamespace(ctx, cluster, dir)
	if err != nil {
		return err
	}
	for _, p := range pictures {
		var shown strings.Builder
		for _, command := range p.commands {
			fmt.Fprintf(&shown, "\x1b[32m$\x1b[0m %s\n", command)
			// A terminal of its own, so that the output has colors. Findings of doctor
			// are no failure of the recording.
			cmd := exec.CommandContext(ctx, "script", "--quiet", "--echo", "never", "--command", command+" 2>/dev/null", os.DevNull) //nolint:gosec // the list above
			cmd.Env = append(os.Environ(), "TERM=xterm-256color", "KUBECONFIG="+kubeconfig,
				"PATH="+strings.Join([]string{filepath.Dir(cluster.Kubectl), filepath.Join(scenario.Root(), "bin"), os.Getenv("PATH")}, ":"))
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", command, err)
			}
			if strings.TrimSpace(string(out)) == "" {
				return fmt.Errorf("%s printed nothing", command)
			}
			shown.WriteString(strings.ReplaceAll(string(out), "\r\n", "\n"))
		}
		text := filepath.Join(dir, p.name+".ansi")
		if err := os.WriteFile(text, []byte(shown.String()), 0o600); err != nil {
			return err
		}
		picture := filepath.Join(scenario.Root(), "docs", "recordings", p.name+".svg")
		draw := exec.CommandContext(ctx, freeze, text, "--language", "ansi", "--output", picture, //nolint:gosec // the tool of the Makefile
			"--font.family", "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", "--font.size", "13", "--padding", "16", "--border.radius", "6")
		if out, err := draw.CombinedOutput(); err != nil {
			return fmt.Errorf("draw %s: %w\n%s", p.name, err, out)
		}
		if err := os.Chmod(picture, 0o644); err != nil { //nolint:gosec // a file of the repository
			return err
		}
		n.Print("Recorded docs/recordings/%s.svg", p.name)
	}
	return nil
}

// inNamespace is a kubeconfig whose commands work in the namespace of the demo, so that
// they need no flags.
func inNamespace(ctx context.Context, c *scenario.Cluster, dir string) (string, error) {
	config, err := c.KubectlOutput(ctx, "config", "view", "--raw", "--flatten", "--minify")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, c.Kubectl, "--kubeconfig", file, "config", "set-context", "--current", "--namespace", namespace).CombinedOutput() //nolint:gosec // kubectl
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
}
