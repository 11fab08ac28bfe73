package instances

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// privateDir is where a server finds the keys of spec.privateModules.secretRef.
	privateDir = "/etc/gocache-proxy/private"
	netrcKey   = "netrc"
	// netrcFile is one of them.
	netrcFile   = privateDir + "/" + netrcKey
	usernameKey = "username"
	passwordKey = "password"
	// secretInterval is when a Secret that may not be used is read again. Secrets
	// are not watched: the operator has no permission to list them.
	secretInterval = 15 * time.Second
	withoutPrivate = "without spec.privateModules.secretRef"
	allRun         = "The instances run " + withoutPrivate
)

// credentials are the keys of a Secret that the server of an instance may have.
// The zero value is none.
type credentials struct {
	secret string
	keys   []string
	// hosts that they may be sent to, as the Secret lists them.
	hosts string
}

// volume of the keys. Optional, so that a pod does not wait for a Secret that is
// created again.
func (c credentials) volume() corev1.Volume {
	v := corev1.Volume{Name: "private", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: c.secret, DefaultMode: ptr.To[int32](0o440), Optional: ptr.To(true),
	}}}
	for _, key := range c.keys {
		v.Secret.Items = append(v.Secret.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return v
}

// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// privateSecret reads the Secret for private modules; nil: there is none to use,
// and the error is why, if the spec names one.
func (r Reconciler) privateSecret(ctx context.Context, p *v1alpha1.ModProxy) (*corev1.Secret, error) {
	m := p.Spec.PrivateModules
	if m == nil || m.SecretRef == nil {
		return nil, nil
	}
	secret, err := read.Object[corev1.Secret](ctx, r.Live, p.Namespace, m.SecretRef.Name)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, refused(v1alpha1.ReasonSourceNotFound, allRun, consent.Refused("Secret %s does not exist", m.SecretRef.Name))
	}
	if len(secret.Data[netrcKey]) == 0 && len(secret.Data[passwordKey]) == 0 {
		return nil, refused(v1alpha1.ReasonSourceNotFound, allRun, consent.Refused("Secret %s has neither the key %s nor the keys %s and %s", secret.Name, netrcKey, usernameKey, passwordKey))
	}
	if err := sendable(p, secret); err != nil {
		return nil, refused(v1alpha1.ReasonSecretRefused, allRun, err)
	}
	return secret, nil
}

// sendable returns an error unless a Secret allows a host that it would be sent
// to: one of the upstreams, or without a known one and with netrc, any.
func sendable(p *v1alpha1.ModProxy, secret *corev1.Secret) error {
	upstreams, plain := upstreamHosts(p)
	example := "proxy.example.com"
	if len(upstreams) > 0 {
		example = upstreams[0]
	}
	list, err := consent.Hosts(secret, example)
	switch {
	case err != nil:
		return err
	case len(secret.Data[netrcKey]) > 0 || slices.ContainsFunc(upstreams, list.Match):
		return nil
	case len(upstreams) > 0:
		return consent.ToHost(secret, upstreams[0])
	case plain:
		return fmt.Errorf("credentials are not sent over http, and spec.upstream.proxy has no https URL for Secret %s", secret.Name)
	}
	return nil
}

// upstreamHosts are the hosts of spec.upstream.proxy that are asked over https;
// plain reports whether another one is asked over http.
func upstreamHosts(p *v1alpha1.ModProxy) (all []string, plain bool) {
	if p.Spec.Upstream == nil {
		return nil, false
	}
	for _, entry := range strings.FieldsFunc(p.Spec.Upstream.Proxy, func(r rune) bool { return r == ',' || r == '|' }) {
		switch u, err := url.Parse(strings.TrimSpace(entry)); {
		case err != nil || u.Host == "":
		case u.Scheme == "https":
			all = append(all, u.Host)
		default:
			plain = true
		}
	}
	return all, plain
}

// credentials of one instance, as far as the Secret allows them; the error is
// why it does not.
func (r Reconciler) credentials(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, secret *corev1.Secret) (credentials, error) {
	if secret == nil {
		return credentials{}, nil
	}
	server, runs := pass.ServerOf(p, instance), "Instance "+instance.Name+" runs "+withoutPrivate
	if why := chosenByUser(server); why != "" {
		if err := consent.ToImage(secret, r.imageOf(server), why); err != nil {
			return credentials{}, refused(v1alpha1.ReasonSecretRefused, runs, err)
		}
	}
	c := credentials{secret: secret.Name, keys: []string{netrcKey, usernameKey, passwordKey}, hosts: secret.Annotations[v1alpha1.HostsAnnotation]}
	if server.Type == v1alpha1.ServerAthens {
		c.keys = c.keys[:1]
		if len(secret.Data[netrcKey]) == 0 {
			return credentials{}, refused(v1alpha1.ReasonSourceNotFound, runs, consent.Refused("Secret %s has no key %s, which Athens needs", secret.Name, netrcKey))
		}
	}
	return c, nil
}

// chosenByUser is why the hosts that a server sends credentials to cannot be
// enforced: what runs there is the user's choice. Empty: the operator's own server
// enforces them.
func chosenByUser(server v1alpha1.ProxyServer) string {
	switch {
	case server.Type == v1alpha1.ServerAthens || server.Type == v1alpha1.ServerCustom:
		return "server.type is " + string(server.Type)
	case server.Image != "":
		return "server.image is set"
	case len(server.Args) > 0:
		return "server.args is set"
	}
	for _, e := range server.Env {
		if slices.Contains([]string{"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG"}, e.Name) {
			return "server.env sets " + e.Name
		}
	}
	return ""
}

// imageOf is the image that a server runs in.
func (r Reconciler) imageOf(server v1alpha1.ProxyServer) string {
	switch {
	case server.Image != "":
		return server.Image
	case server.Type == v1alpha1.ServerAthens:
		return r.Images.Athens
	}
	return r.Images.Operator
}

// refused is the error of a Secret that is not used; without is what runs so.
func refused(reason, without string, err error) error {
	return &conditions.StalledError{
		Reason: reason, RetryAfter: secretInterval,
		Message: fmt.Sprintf("%s: %s. The Secret is read again every %s", without, err, secretInterval),
	}
}
