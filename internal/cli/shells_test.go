package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestMain is the program itself, on the objects of the tests, where a shell calls
// this binary by a name of the program.
func TestMain(m *testing.M) {
	if !strings.HasSuffix(filepath.Base(os.Args[0]), "-gocache") {
		os.Exit(m.Run())
	}
	a := &app{
		IOStreams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		flags:     genericclioptions.NewConfigFlags(false),
		client:    func() (client.Client, error) { return clientOf(completed()...), nil },
	}
	a.flags.Namespace = ptr.To("ci")
	root := a.root("v0.1.0")
	root.SetArgs(Args(os.Args))
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// completed are the objects whose names are completed.
func completed() []client.Object {
	objects := append(world(), storageClass()[0])
	for _, o := range objects {
		if cache, ok := o.(*v1alpha1.GoCache); ok {
			cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:1234", Open: true}}
		}
	}
	return objects
}

// TestShells presses the tab key in the shells that Debian has, with the script
// that the program writes for each. PowerShell is not among them.
func TestShells(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "kubectl-gocache")); err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs(filepath.Join("testdata", "shells"))
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"failo", "failover ", "failover goproxy bl", "logs modproxy/gop", "diff ci-1 ci-", "approve ci ", "approve ci sha256:1", "status --wat",
	}
	// Of several candidates, a tab adds what they have in common.
	want := []string{
		"failover ", "failover goproxy ", "failover goproxy blue ", "logs modproxy/goproxy ", "diff ci-1 ci-", "approve ci sha256:1234 ",
		"approve ci sha256:1234 ", "status --watch ",
	}
	typed := make([]string, 0, len(lines))
	for _, line := range lines {
		typed = append(typed, "kubectl-gocache "+line)
	}
	run := func(t *testing.T, name string, args ...string) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		home := t.TempDir()
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + home, "ZDOTDIR=" + scripts, "TERM=xterm", "LC_ALL=C.UTF-8", "KUBECONFIG=" + filepath.Join(home, "none")}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
	for shell, command := range map[string]string{
		"bash": "bash --noprofile --rcfile " + filepath.Join(scripts, "bashrc") + " -i",
		"zsh":  "zsh -d -i",
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			got := run(t, "zsh", append([]string{"-f", filepath.Join(scripts, "type.zsh"), command}, typed...)...)
			if len(got) != len(lines)+1 || got[0] != "ready" {
				t.Fatalf("got %q", got)
			}
			for i, line := range typed {
				if got := got[i+1]; got != "kubectl-gocache "+want[i] {
					t.Errorf("%q and a tab became %q, want %q", line, got, "kubectl-gocache "+want[i])
				}
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		t.Parallel()
		for i, line := range typed {
			var names []string
			for _, candidate := range run(t, "fish", "--no-config", "-c", "kubectl-gocache completion fish | source; complete -C '"+line+"'") {
				name, _, _ := strings.Cut(candidate, "\t")
				names = append(names, name)
			}
			got, last := strings.Join(names, " "), want[i][strings.LastIndex(strings.TrimSpace(want[i]), " ")+1:]
			if last == "ci-" {
				last = "ci-1 ci-2 ci-3"
			}
			if got != strings.TrimSpace(last) {
				t.Errorf("%q is completed by %q, want %q", line, got, last)
			}
		}
	})
}
