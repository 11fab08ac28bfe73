package modproxy

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/read"
)

// clientsInterval is when a Secret with which no client can authenticate is read
// again. Secrets are not watched: the operator has no permission to list them.
const clientsInterval = 15 * time.Second

// clientsSecret is what is known of the Secret of spec.router.clientAuth.
type clientsSecret struct {
	// withheld: the router must not mount it.
	withheld bool
	// unknown: it could not be read.
	unknown bool
	// problem is why no client can authenticate with it; nil: some can.
	problem error
}

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// observeClients reads the Secret that clients authenticate with. It must allow the
// host of the router: a user who may name a Secret there, and may not read Secrets, could
// otherwise have the router compare guesses at its password. One that does not exist
// is not mounted either, so that what is created under the name later has to allow it.
func (r *Reconciler) observeClients(ctx context.Context, p *v1alpha1.ModProxy) clientsSecret {
	if p.Spec.Router.ClientAuth == nil {
		return clientsSecret{}
	}
	name := p.Spec.Router.ClientAuth.SecretRef.Name
	secret, err := read.Object[corev1.Secret](ctx, r.Live, p.Namespace, name)
	if err != nil {
		return clientsSecret{unknown: true, problem: err}
	}
	if secret == nil {
		return clientsSecret{withheld: true, problem: clientsProblem(v1alpha1.ReasonInvalidSpec, "Secret %s does not exist: create it with the keys username and password", name)}
	}
	host, err := r.maker(false).Host(p)
	if err == nil {
		err = consent.ToHost(secret, host)
	}
	if err != nil {
		return clientsSecret{withheld: true, problem: clientsProblem(v1alpha1.ReasonSecretRefused, "%s", err)}
	}
	return clientsSecret{problem: usable(secret)}
}

// usable returns an error unless clients can authenticate with a Secret.
func usable(secret *corev1.Secret) error {
	invalid := func(format string, args ...any) error {
		return clientsProblem(v1alpha1.ReasonInvalidSpec, format, args...)
	}
	for _, key := range []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey} {
		value := string(secret.Data[key])
		switch {
		case value == "":
			return invalid("Secret %s has no key %s, or an empty one: set it", secret.Name, key)
		case strings.ContainsFunc(value, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }):
			return invalid("the key %s of Secret %s contains white space, such as a line break at its end: a netrc file cannot express it; remove it", key, secret.Name)
		case key == corev1.BasicAuthUsernameKey && strings.Contains(value, ":"):
			return invalid("the key username of Secret %s contains a colon: choose another user name", secret.Name)
		}
	}
	return nil
}

// clientsProblem is the error of a Secret with which no client can authenticate.
func clientsProblem(reason, format string, args ...any) error {
	return &conditions.StalledError{
		Reason: reason, RetryAfter: clientsInterval,
		Message: fmt.Sprintf("spec.router.clientAuth: %s. Until then pods of the router that start serve no client. The Secret is read again every %s", fmt.Sprintf(format, args...), clientsInterval),
	}
}
