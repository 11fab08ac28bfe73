package exitcode_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
)

// The numbers are an interface: Jobs and scripts compare them.
func TestOf(t *testing.T) {
	corrupt := &exitcode.Error{Code: exitcode.Corrupt, Err: io.ErrUnexpectedEOF}
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"no error":          {nil, 0},
		"any error":         {io.EOF, 1},
		"usage":             {&exitcode.Error{Code: exitcode.Usage, Err: io.EOF}, 2},
		"corrupt":           {corrupt, 3},
		"inconclusive":      {&exitcode.Error{Code: exitcode.Inconclusive, Err: io.EOF}, 4},
		"wrapped":           {fmt.Errorf("verify: %w", corrupt), 3},
		"joined to another": {errors.Join(io.EOF, corrupt), 3},
	} {
		if got := exitcode.Of(tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if corrupt.Error() != "unexpected EOF" || !errors.Is(corrupt, io.ErrUnexpectedEOF) {
		t.Errorf("%v does not stand for its cause", corrupt)
	}
}

// Only Intact is success; a verdict that is not known proves nothing.
func TestOfVerdict(t *testing.T) {
	for outcome, want := range map[integrity.Outcome]int{
		integrity.Intact: 0, integrity.OutcomeCorrupt: 3, integrity.Inconclusive: 4, "": 4, "Splendid": 4,
	} {
		if got := exitcode.OfVerdict(outcome); got != want {
			t.Errorf("%q: %d, want %d", outcome, got, want)
		}
	}
}
