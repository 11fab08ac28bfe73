package instances

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/plan/naming"
)

const (
	// peersVariable names the other instances to a server. It is no flag, so that a
	// server.image of an earlier version starts.
	peersVariable = "GOCACHE_PROXY_PEERS"
	// quarantinedVariable names the file with those of them that it must not ask.
	quarantinedVariable = "GOCACHE_PROXY_QUARANTINED_PEERS"

	peersName      = "peers"
	peersDir       = "/etc/gocache-proxy/peers"
	quarantinedKey = "quarantined"
)

// addressOf is the URL under which other instances ask one.
func addressOf(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) string {
	return fmt.Sprintf("http://%s.%s.svc:%d", childName(p, instance), p.Namespace, pass.InstancePort)
}

// asks reports whether an instance asks others, and is asked: whether it has our
// server, which answers from its store alone what it is asked for so.
func asks(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) bool {
	return instance.External == nil && pass.ServerOf(p, instance).Type == v1alpha1.ServerGoproxy
}

// peers are the URLs of the other instances with the same server.
func peers(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) string {
	var urls []string
	for i := range p.Spec.Instances {
		if other := &p.Spec.Instances[i]; other.Name != instance.Name && asks(p, other) {
			urls = append(urls, addressOf(p, other))
		}
	}
	return strings.Join(urls, ",")
}

// peersVolume is where a server reads which instances are quarantined. A pod does not
// wait for it.
func peersVolume(p *v1alpha1.ModProxy) corev1.Volume {
	return corev1.Volume{Name: peersName, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: naming.Child(p.Name, peersName)}, Optional: ptr.To(true),
	}}}
}

// NameQuarantined names the quarantined instances to the servers, so that they do
// not take content from them. The kubelet brings it to them within about a minute;
// until then, and after it, what they get is checked like the answer of an upstream.
func (r Reconciler) NameQuarantined(ctx context.Context, p *v1alpha1.ModProxy) error {
	var quarantined []string
	count := 0
	for i := range p.Spec.Instances {
		instance := &p.Spec.Instances[i]
		if !asks(p, instance) {
			continue
		}
		count++
		if slices.ContainsFunc(p.Status.Instances, func(s v1alpha1.InstanceStatus) bool { return s.Name == instance.Name && s.Quarantined != nil }) {
			quarantined = append(quarantined, addressOf(p, instance)+"\n")
		}
	}
	if count < 2 {
		return nil
	}
	_, err := r.applier().Apply(ctx, apply.ControlledBy(p), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: naming.Child(p.Name, peersName),
			Labels: map[string]string{v1alpha1.ProxyLabel: p.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		},
		Data: map[string]string{quarantinedKey: strings.Join(quarantined, "")},
	})
	if err != nil {
		return fmt.Errorf("name the quarantined instances to the others: %w", err)
	}
	return nil
}
