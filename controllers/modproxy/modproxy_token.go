package modproxy

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// The agents beside the stores take orders from whoever brings a token. It is
// made once for each ModProxy, in a Secret that goes with it: a stranger in the
// cluster must not be able to keep the disks of a proxy busy.

const (
	tokenKey  = "token"
	tokenDir  = "/etc/gocache-agent" //nolint:gosec // a path, not a token
	tokenFile = tokenDir + "/" + tokenKey
)

func (s *scope) tokenName() string { return naming.Child(s.proxy.Name, agentName) }

// The token is created and read, and never changed: that takes no right to
// change Secrets.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create

// ensureToken makes the Secret with the token, unless there is one.
func (r *Reconciler) ensureToken(ctx context.Context, s *scope) error {
	secret, err := read.Object[corev1.Secret](ctx, r.Live, s.proxy.Namespace, s.tokenName())
	if err != nil {
		return err
	}
	if secret != nil {
		return s.takeToken(secret)
	}
	secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.proxy.Namespace, Name: s.tokenName(), Labels: map[string]string{v1alpha1.ProxyLabel: s.proxy.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		},
		Immutable: ptr.To(true),
		Data:      map[string][]byte{tokenKey: []byte(rand.Text())},
	}
	if err := controllerutil.SetControllerReference(s.proxy, secret, r.Client.Scheme()); err != nil {
		return fmt.Errorf("token of the agents: %w", err)
	}
	if err := r.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("create the token of the agents: %w", err)
	}
	return s.takeToken(secret)
}

// observeToken reads the token; there may be none yet.
func (r *Reconciler) observeToken(ctx context.Context, s *scope) error {
	secret, err := read.Object[corev1.Secret](ctx, r.Live, s.proxy.Namespace, s.tokenName())
	if err != nil || secret == nil {
		return err
	}
	return s.takeToken(secret)
}

func (s *scope) takeToken(secret *corev1.Secret) error {
	if !metav1.IsControlledBy(secret, s.proxy) {
		return &conditions.StalledError{
			Reason:  v1alpha1.ReasonInvalidSpec,
			Message: fmt.Sprintf("Secret %s is not this ModProxy's: remove it, and the operator creates the token of the agents there", secret.Name),
		}
	}
	s.Token = string(secret.Data[tokenKey])
	return nil
}

// tokenVolume is the Secret as the agents mount it. A pod does not wait for it:
// it serves, and its agent takes no orders until the token is there.
func (s *scope) tokenVolume() corev1.Volume {
	return corev1.Volume{Name: tokenKey, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: s.tokenName(), DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
	}}}
}
