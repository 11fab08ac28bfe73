package agentcommand_test

import (
	"slices"
	"testing"

	"gocache.dev/operator/internal/domain/agentcommand"
)

// The kubelet would replace what looks like a variable in an argument.
func TestArgumentsAreNotExpanded(t *testing.T) {
	got := agentcommand.In("/tools", agentcommand.Fetch{URL: "https://git.example.com/$(GOCACHE)$$.git", Ref: "main"})
	want := []string{"/tools/gocache-agent", "fetch", "--url", "https://git.example.com/$$(GOCACHE)$$$$.git", "--ref", "main"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := agentcommand.InImage(agentcommand.Install{Dir: "/tools"}); !slices.Equal(got, []string{"/gocache-agent", "install", "/tools"}) {
		t.Errorf("%q", got)
	}
}
