package modproxy

import (
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
)

// setCertificate says what the router's replicas made of the Secret.
func (s *scope) setCertificate(set conditions.Set) {
	const ready = v1alpha1.CertificateReadyCondition
	if s.proxy.Spec.Router.TLS == nil {
		set.Clear(ready)
		return
	}
	refused, unknown, mismatch := s.certificateTrouble()
	switch {
	case len(refused) > 0:
		set.False(ready, v1alpha1.ReasonCertificateRefused, "%s", strings.Join(refused, "; "))
	case len(unknown) > 0 || len(s.Certificates) == 0:
		set.Unknown(ready, v1alpha1.ReasonProgressing, "Not every replica of the router has said yet which certificate it serves. %s", strings.Join(unknown, "; "))
	case mismatch != "":
		set.False(ready, v1alpha1.ReasonCertificateNameMismatch, "Clients that use status.url refuse the certificate: %s", mismatch)
	default:
		set.True(ready, v1alpha1.ReasonCertificateServed, "All %d replicas of the router serve the certificate of Secret %s, valid until %s",
			len(s.Certificates), s.proxy.Spec.Router.TLS.SecretRef.Name, day(s.Certificates[0].NotAfter))
	}
}

// certificateTrouble lists the replicas that refuse the Secret, those that
// cannot be asked, and how the certificate misses the published name.
func (s *scope) certificateTrouble() (refused, unknown []string, mismatch string) {
	for _, c := range s.Certificates {
		switch {
		case c.Unreachable != "":
			unknown = append(unknown, c.Replica+": "+c.Unreachable)
		case c.Problem != "" && c.Fingerprint == "":
			refused = append(refused, fmt.Sprintf("%s cannot serve: Secret %s: %s", c.Replica, s.proxy.Spec.Router.TLS.SecretRef.Name, c.Problem))
		case c.Problem != "":
			refused = append(refused, fmt.Sprintf("%s goes on with the certificate that is valid until %s: Secret %s: %s",
				c.Replica, day(c.NotAfter), s.proxy.Spec.Router.TLS.SecretRef.Name, c.Problem))
		case c.NameMismatch != "":
			mismatch = c.NameMismatch
		}
	}
	return refused, unknown, mismatch
}

// withoutCertificate says why no replica can begin to serve, if it is the
// certificate.
func (s *scope) withoutCertificate() string {
	if s.proxy.Spec.Router.TLS == nil {
		return ""
	}
	refused, _, _ := s.certificateTrouble()
	return strings.Join(refused, "; ")
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
