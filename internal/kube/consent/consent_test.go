package consent_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/consent"
)

func secret(annotation, value string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login"}, Data: map[string][]byte{"password": []byte("s3cret")}, Type: corev1.SecretTypeBasicAuth}
	if value != "" {
		s.Annotations = map[string]string{annotation: value}
	}
	return s
}

func TestToHost(t *testing.T) {
	for _, tt := range []struct{ value, host, want string }{
		{"git.example.com", "git.example.com", ""},
		{"other.test,*.example.com", "git.example.com:8443", ""},
		{"", "git.example.com:8443", "kubectl annotate secret login --overwrite cache.gocache.dev/hosts=git.example.com:8443"},
		{" , ", "git.example.com", "has no annotation"},
		{"*", "git.example.com", `"*" is not a host`},
		{"git.example.com", "evil.test", `may not be sent to evil.test: its annotation cache.gocache.dev/hosts allows "git.example.com" only`},
	} {
		err := consent.ToHost(secret(v1alpha1.HostsAnnotation, tt.value), tt.host)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q for %s: %v, want %q", tt.value, tt.host, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a password is in %q", err)
		}
	}
}

func TestToImage(t *testing.T) {
	for _, tt := range []struct {
		value, image string
		allowed      bool
	}{
		{"registry.test/own:1", "registry.test/own:1", true},
		{"a, registry.test/team/*", "registry.test/team/own:1", true},
		{"registry.test/team/*", "registry.test/team2/own:1", false},
		{"registry.test/own:1", "registry.test/own:12", false},
		{"", "own:1", false},
		{"*", "own:1", false},
		{"/*", "/own", false},
		{"own:1", "", false},
	} {
		err := consent.ToImage(secret(v1alpha1.ImagesAnnotation, tt.value), tt.image, "spec.server.type is Custom")
		if (err == nil) != tt.allowed || err != nil && !strings.Contains(err.Error(), "spec.server.type is Custom") {
			t.Errorf("%q for %q: %v", tt.value, tt.image, err)
		}
	}
}
