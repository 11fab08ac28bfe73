package consent

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/hosts"
)

// refusal is a sentence for the user, about a Secret that is not used.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refused returns the error that a Secret is not used, as a sentence for the user.
func Refused(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// Hosts returns the hosts that a Secret may be sent to. The error is a sentence
// for the user: the annotation is missing or invalid.
func Hosts(secret *corev1.Secret, example string) (hosts.List, error) {
	list, err := hosts.Parse(secret.Annotations[v1alpha1.HostsAnnotation])
	if err != nil {
		return hosts.List{}, fmt.Errorf("the annotation %s of Secret %s is invalid: %w", v1alpha1.HostsAnnotation, secret.Name, err)
	}
	if list.Empty() {
		return hosts.List{}, Refused("Secret %s has no annotation %s, so its content is sent to no host; if it is meant for %s, run: kubectl annotate secret %s --overwrite %s=%s",
			secret.Name, v1alpha1.HostsAnnotation, example, secret.Name, v1alpha1.HostsAnnotation, example)
	}
	return list, nil
}

// ToHost returns an error unless a Secret may be sent to a host, which may have
// a port. The error is a sentence for the user.
func ToHost(secret *corev1.Secret, host string) error {
	list, err := Hosts(secret, host)
	if err != nil {
		return err
	}
	if !list.Match(host) {
		return Refused("Secret %s may not be sent to %s: its annotation %s allows %q only; add the host there if it is meant for it",
			secret.Name, host, v1alpha1.HostsAnnotation, secret.Annotations[v1alpha1.HostsAnnotation])
	}
	return nil
}

// ToImage returns an error unless a Secret may be mounted into a container with
// an image that a user has chosen. The error is a sentence for the user.
func ToImage(secret *corev1.Secret, image, why string) error {
	allowed := strings.FieldsFunc(secret.Annotations[v1alpha1.ImagesAnnotation], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	if image != "" && slices.ContainsFunc(allowed, func(pattern string) bool { return matchImage(pattern, image) }) {
		return nil
	}
	return Refused("Secret %s may not be mounted into image %s (%s): its annotation %s does not name it; add it there if the image may read the Secret",
		secret.Name, image, why, v1alpha1.ImagesAnnotation)
}

// matchImage reports whether a pattern is an image, or a path and /* above it.
func matchImage(pattern, image string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/*"); ok {
		return prefix != "" && strings.HasPrefix(image, prefix+"/")
	}
	return pattern == image
}
