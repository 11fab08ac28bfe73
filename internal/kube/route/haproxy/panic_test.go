package haproxy

import (
	"strings"
	"testing"
)

// TestPanicOfAReader holds that a replica whose answer makes its reader panic is
// reported like one that does not answer.
func TestPanicOfAReader(t *testing.T) {
	err := readAnswer(t.Context(), Replica{Name: "router-0"}, func() error { panic("what evil.example.com sent") })
	if err == nil || !strings.Contains(err.Error(), "defect") || strings.Contains(err.Error(), "evil") {
		t.Error(err)
	}
	if err := readAnswer(t.Context(), Replica{}, func() error { return nil }); err != nil {
		t.Error(err)
	}
}
