package retry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/retry"
)

var request = reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "ci", Name: "cache"}}

// TestLoggedError holds that an error is not logged at any length.
func TestLoggedError(t *testing.T) {
	long := errors.New(strings.Repeat("x", 1<<20))
	if _, err := new(retry.Pacer).Result(request, long, 0); !errors.Is(err, long) || len(err.Error()) > 4<<10 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestResult(t *testing.T) {
	oh := errors.New("oh")
	for name, tt := range map[string]struct {
		err, want   error
		wake, after time.Duration
	}{
		"went well":                      {nil, nil, time.Hour, time.Hour},
		"went well, nothing is due":      {nil, nil, 0, 0},
		"an error":                       {oh, oh, time.Hour, 0},
		"stalled":                        {&conditions.StalledError{}, nil, time.Hour, time.Minute},
		"stalled, nothing is due":        {&conditions.StalledError{}, nil, 0, time.Minute},
		"stalled for less":               {&conditions.StalledError{RetryAfter: time.Second}, nil, time.Hour, time.Second},
		"in one part, another has steps": {&conditions.StalledError{}, nil, 500 * time.Millisecond, 500 * time.Millisecond},
		"a conflict":                     {errors.Join(oh, &apply.ConflictError{}), nil, time.Hour, time.Minute},
	} {
		got, err := new(retry.Pacer).Result(request, tt.err, tt.wake)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || got.RequeueAfter != tt.after {
			t.Errorf("%s: %v after %v, want %v after %v", name, err, got.RequeueAfter, tt.want, tt.after)
		}
	}
}

// TestPauses holds that the pauses grow, but not beyond what was due without the error, nor
// beyond a minute.
func TestPauses(t *testing.T) {
	p := new(retry.Pacer)
	fail := func(wake time.Duration) time.Duration {
		if _, err := p.Result(request, errors.New("oh"), wake); err == nil {
			t.Fatal("no error")
		}
		return p.When(request)
	}
	if first, second := fail(time.Hour), fail(time.Hour); first > 10*time.Millisecond || second <= first {
		t.Errorf("the first pauses are %v and %v", first, second)
	}
	for range 40 {
		fail(0)
	}
	for wake, want := range map[time.Duration]time.Duration{0: time.Minute, time.Hour: time.Minute, 2 * time.Second: 2 * time.Second} {
		if got := fail(wake); got != want {
			t.Errorf("due after %v: a pause of %v, want %v", wake, got, want)
		}
	}
	if got := p.When(request); got != time.Minute {
		t.Errorf("an error of which no part reported what is due: a pause of %v", got)
	}
	if got := p.Later(request, time.Second).RequeueAfter; got != time.Second {
		t.Errorf("a pass that was not made is made after %v", got)
	}
	p.Forget(request) // as the controller does then
	if got := fail(0); got != time.Minute {
		t.Errorf("after a pass that was not made: a pause of %v", got)
	}
	p.Forget(request)
	if got, n := fail(0), p.NumRequeues(request); got > 10*time.Millisecond || n != 1 {
		t.Errorf("begun anew: a pause of %v, %d errors", got, n)
	}
}
