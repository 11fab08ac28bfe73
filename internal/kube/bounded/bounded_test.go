package bounded_test

import (
	"testing"

	"gocache.dev/operator/internal/kube/bounded"
)

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 0, ""}, {"abc", 3, "abc"}, {"abc", 2, "ab"}, {"aé", 2, "a"}, {"é", 1, ""}, {"aé", 3, "aé"}, {"日本", 5, "日"},
	} {
		if got := bounded.Text(tt.text, tt.n); got != tt.want {
			t.Errorf("Text(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}
