package instances

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// The agents beside the stores start a check only for a request with a token. It
// is created once for each ModProxy, in a Secret that is owned by it: another
// tenant of the cluster must not be able to keep the disks of a proxy busy.

const (
	tokenKey  = "token"
	tokenDir  = "/etc/gocache-agent" //nolint:gosec // a path, not a token
	tokenFile = tokenDir + "/" + tokenKey
)

func tokenName(p *v1alpha1.ModProxy) string { return naming.Child(p.Name, agentName) }

// The token is created and read, and never changed: that needs no permission to
// change Secrets.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create

// Token is the token of the agents of a ModProxy; empty: there is none yet, or
// the Secret of its name has another owner.
func Token(ctx context.Context, live client.Reader, p *v1alpha1.ModProxy) (string, error) {
	secret, err := read.Object[corev1.Secret](ctx, live, p.Namespace, tokenName(p))
	if err != nil || secret == nil || !metav1.IsControlledBy(secret, p) {
		return "", err
	}
	return string(secret.Data[tokenKey]), nil
}

// ensureToken creates the Secret with the token, unless it exists. The next pass
// reads it.
func (r Reconciler) ensureToken(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, out *Result) error {
	if o.Token != "" {
		return nil
	}
	secret, err := read.Object[corev1.Secret](ctx, r.Live, p.Namespace, tokenName(p))
	if err != nil {
		return err
	}
	if secret != nil && !metav1.IsControlledBy(secret, p) {
		return pass.Invalid("Secret %s is not this ModProxy's: remove it, and the operator creates the token of the agents there", secret.Name)
	}
	out.WakeIn(pass.ConfirmInterval)
	if secret != nil {
		return nil
	}
	secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: tokenName(p), Labels: map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		},
		Immutable: ptr.To(true),
		Data:      map[string][]byte{tokenKey: []byte(rand.Text())},
	}
	if err := controllerutil.SetControllerReference(p, secret, r.Client.Scheme()); err != nil {
		return fmt.Errorf("token of the agents: %w", err)
	}
	if err := r.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("create the token of the agents: %w", err)
	}
	return nil
}

// tokenVolume is the Secret as the agents mount it. A pod does not wait for it:
// it serves, and its agent starts no check on request until the token exists.
func tokenVolume(p *v1alpha1.ModProxy) corev1.Volume {
	return corev1.Volume{Name: tokenKey, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: tokenName(p), DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
		Items: []corev1.KeyToPath{{Key: tokenKey, Path: tokenKey}},
	}}}
}
