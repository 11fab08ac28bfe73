package goenv_test

import (
	"testing"

	"gocache.dev/operator/internal/domain/goenv"
)

func TestIsRelease(t *testing.T) {
	for _, tt := range []struct {
		is, want string
		yes      bool
	}{
		{"go1.26.8", "", true}, {"go1.26.8", "1.26.8", true}, {"go1.26.8", "go1.26.8", true}, {"go1.26.8", "1.26", true},
		{"go1.26.8", "1.26.80", false}, {"go1.26.8", "1.2", false}, {"go1.26.80", "1.26.8", false}, {"go1.27rc1", "1.27rc1", true},
		{"go1.27rc1", "1.27", false}, {"go1.27", "1.27", true}, {"go1.27rc1", "1.27rc", false}, {"", "1.26", false},
	} {
		if got := goenv.IsRelease(tt.is, tt.want); got != tt.yes {
			t.Errorf("%q for %q: %v", tt.is, tt.want, got)
		}
	}
}
