package manager

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestAttempts holds how long an API server is waited for: one that is away for
// minutes, one that refuses the credentials for as long as one needs to start.
func TestAttempts(t *testing.T) {
	var (
		away      = errors.New("dial tcp 10.96.0.1:443: connect: connection refused")
		forbidden = fmt.Errorf("list: %w", apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no role")))
		unknown   = fmt.Errorf("list: %w", apierrors.NewUnauthorized("who"))
		untrusted = fmt.Errorf("get: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}})
	)
	for _, c := range []struct {
		name string
		at   func(elapsed time.Duration) error
		due  time.Duration // when it gives up
		with string
	}{
		{"away", func(time.Duration) error { return away }, unreachableFor, "was not reached within 10m0s"},
		{"forbidden", func(time.Duration) error { return forbidden }, refusedFor, "correct the credentials"},
		{"unauthorized", func(time.Duration) error { return unknown }, refusedFor, "correct the credentials"},
		{"another certificate authority", func(time.Duration) error { return untrusted }, refusedFor, "correct the credentials"},
		{"away, then its roles are missing", func(elapsed time.Duration) error {
			if elapsed < time.Minute {
				return away
			}
			return forbidden
		}, time.Minute + refusedFor, "correct the credentials"},
		{"refuses now and then", func(elapsed time.Duration) error {
			if elapsed/(10*time.Second)%2 == 0 {
				return away
			}
			return forbidden
		}, unreachableFor, "was not reached within 10m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var elapsed time.Duration
			a := &attempts{host: "https://10.96.0.1", pauses: wait.Backoff{Duration: time.Nanosecond}, now: func() time.Time {
				return time.Unix(1e9, 0).Add(elapsed)
			}}
			for ; elapsed <= 2*unreachableFor; elapsed += time.Second {
				err := a.failed(t.Context(), c.at(elapsed))
				if err == nil {
					continue
				}
				if elapsed != c.due || !strings.Contains(err.Error(), c.with) || !errors.Is(err, c.at(elapsed)) {
					t.Errorf("gave up after %s: %v; want after %s, with %q and the cause", elapsed, err, c.due, c.with)
				}
				return
			}
			t.Error("waits for ever")
		})
	}
}

// TestPauses holds that the pauses between attempts grow and stay bounded.
func TestPauses(t *testing.T) {
	b := pauses()
	for i := range 100 {
		if p := b.Step(); p < time.Second || p > 17*time.Second {
			t.Errorf("pause %d is %s", i, p)
		}
	}
}

// TestWaitEnds holds that a process that is to end does not wait on.
func TestWaitEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &attempts{pauses: wait.Backoff{Duration: time.Hour}, now: time.Now}
	if err := a.failed(ctx, errors.New("away")); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
}
