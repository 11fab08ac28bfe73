package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// attemptTimeout bounds one request to the API server at the start.
	attemptTimeout = 10 * time.Second
	// unreachableFor is how long an API server may be away at the start. The
	// kubelet restarts the process afterwards, and without a long pause: a
	// container that ran for ten minutes has no back-off.
	unreachableFor = 10 * time.Minute
	// refusedFor is how long the API server may refuse the credentials. One that
	// starts refuses all of them until it has read the roles.
	refusedFor = 20 * time.Second
)

// pauses between attempts to reach the API server.
func pauses() wait.Backoff {
	return wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 10, Cap: 15 * time.Second}
}

// attempts to reach the API server.
type attempts struct {
	host   string
	pauses wait.Backoff
	now    func() time.Time

	began, refused time.Time // of the first failure in a row; zero: none
}

// failed logs a failed attempt and waits until the next one is due. It returns an
// error when there is none: ctx has ended, the API server refuses the
// credentials, or it has been away for too long.
func (a *attempts) failed(ctx context.Context, err error) error {
	now := a.now()
	if a.began.IsZero() {
		a.began = now
	}
	switch {
	case !incurable(err):
		a.refused = time.Time{}
	case a.refused.IsZero():
		a.refused = now
	}
	if !a.refused.IsZero() && now.Sub(a.refused) >= refusedFor {
		return fmt.Errorf("the API server at %s refuses this process, or has a certificate of an unknown authority: correct the credentials, the roles or the CA: %w", a.host, err)
	}
	if now.Sub(a.began) >= unreachableFor {
		return fmt.Errorf("the API server at %s was not reached within %s: %w", a.host, unreachableFor, err)
	}
	pause := a.pauses.Step()
	if !a.refused.IsZero() {
		pause = min(pause, refusedFor/4)
	}
	ctrl.Log.Info("Cannot reach the API server, waiting for it", "address", a.host, "error", err.Error(),
		"nextAttemptIn", pause.Round(time.Millisecond).String(), "givesUpIn", (unreachableFor - now.Sub(a.began)).Round(time.Second).String())
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the API server at %s: %w", a.host, ctx.Err())
	case <-time.After(pause):
		return nil
	}
}

// incurable reports whether an API server answered and waiting for it does not
// help: it refuses the credentials, or its certificate is not accepted.
func incurable(err error) bool {
	var certificate *tls.CertificateVerificationError
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || errors.As(err, &certificate)
}
