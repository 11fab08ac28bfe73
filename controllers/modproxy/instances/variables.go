package instances

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/consent"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

// permitted is the server of an instance without the variables whose Secret does
// not allow its image. refused are the reasons, which keep the instance from
// nothing else; with err a Secret could not be read.
func (r Reconciler) permitted(ctx context.Context, p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) (server v1alpha1.ProxyServer, refused []error, err error) {
	server = pass.ServerOf(p, instance)
	var kept []v1alpha1.EnvVar
	for _, e := range server.Env {
		if e.ValueFrom != nil {
			without := fmt.Sprintf("Instance %s runs without server.env %s", instance.Name, e.Name)
			why, err := r.refusedVariable(ctx, p, server, e, without)
			if err != nil {
				return server, nil, err
			}
			if why != nil {
				refused = append(refused, why)
				continue
			}
		}
		kept = append(kept, e)
	}
	server.Env = kept
	return server, refused, nil
}

// refusedVariable is why a variable may not be read from its Secret; nil: it may.
// The image needs the Secret's consent whatever the server is: the user chooses
// the name of the variable, and with it what the program does with the value.
func (r Reconciler) refusedVariable(ctx context.Context, p *v1alpha1.ModProxy, server v1alpha1.ProxyServer, e v1alpha1.EnvVar, without string) (why, err error) {
	ref := e.ValueFrom.SecretKeyRef
	secret, err := read.Object[corev1.Secret](ctx, r.Live, p.Namespace, ref.Name)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return refused(v1alpha1.ReasonSourceNotFound, without, consent.Refused("Secret %s does not exist", ref.Name)), nil
	}
	if err := consent.ToImage(secret, r.imageOf(server), "server.env "+e.Name+" reads it"); err != nil {
		return refused(v1alpha1.ReasonSecretRefused, without, err), nil
	}
	if _, ok := secret.Data[ref.Key]; !ok {
		return refused(v1alpha1.ReasonSourceNotFound, without, consent.Refused("Secret %s has no key %s", ref.Name, ref.Key)), nil
	}
	return nil, nil
}

// environment is the operator's, with the user's variables over it, in the order of
// their names.
func environment(env map[string]string, server v1alpha1.ProxyServer) []corev1.EnvVar {
	for _, e := range server.Env {
		delete(env, e.Name)
	}
	all := podspec.Env(env)
	for _, e := range server.Env {
		v := corev1.EnvVar{Name: e.Name, Value: e.Value}
		if e.ValueFrom != nil {
			// Optional, so that a pod does not wait for a Secret that is created again.
			v.ValueFrom = &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: e.ValueFrom.SecretKeyRef.Name}, Key: e.ValueFrom.SecretKeyRef.Key, Optional: ptr.To(true),
			}}
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return all
}
