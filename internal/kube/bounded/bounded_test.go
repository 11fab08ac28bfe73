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
		{"a\x1b]0;owned\x07b\x1b[2J\u009bc\r\nd\te", 99, "a]0;ownedb[2Jc\nd\te"}, {"\x1b\x1bab", 1, "a"},
	} {
		if got := bounded.Text(tt.text, tt.n); got != tt.want {
			t.Errorf("Text(%q, %d) = %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}
