package request_test

import (
	"testing"

	"gocache.dev/operator/internal/plan/request"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]request.Request{
		"warm-up#1":                   {Action: "warm-up", Token: "1"},
		"failover=green#2026-11":      {Action: "failover", Argument: "green", Token: "2026-11"},
		"approve-cleanup=sha256:ab#x": {Action: "approve-cleanup", Argument: "sha256:ab", Token: "x"},
	} {
		want.Text = text
		if got, err := request.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "warm-up", "warm-up#", "#1", "Warm#1", "warm-up=#1", "warm-up#a b", "rollback=../x#1"} {
		if got, err := request.Parse(text); err == nil || got.Text != text {
			t.Errorf("Parse(%q) = %+v, %v; want an error, and the text kept", text, got, err)
		}
	}
}
