package modproxy

import (
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
)

// certificateFact is the fact for the condition CertificateReady: whether the router's
// replicas serve the certificate of the Secret. It is nil without router.tls.
func certificateFact(p *v1alpha1.ModProxy, o pass.Observed) *pass.Fact {
	if p.Spec.Router.TLS == nil {
		return nil
	}
	refused, unknown, mismatch := certificateFaults(p, o)
	switch {
	case o.CertificatesUnknown != nil:
		return pass.Unknown(v1alpha1.ReasonError, "It is not known which certificate the router serves; it is tried again: %s", o.CertificatesUnknown)
	case len(refused) > 0:
		return pass.False(v1alpha1.ReasonCertificateRefused, "%s", strings.Join(refused, "; "))
	case len(unknown) > 0 || len(o.Certificates) == 0:
		return pass.Unknown(v1alpha1.ReasonProgressing, "Not every replica of the router has reported yet which certificate it serves. %s", strings.Join(unknown, "; "))
	case mismatch != "":
		return pass.False(v1alpha1.ReasonCertificateNameMismatch, "Clients that use status.url refuse the certificate: %s", mismatch)
	default:
		return pass.True(v1alpha1.ReasonCertificateServed, "All %d replicas of the router serve the certificate of Secret %s, valid until %s",
			len(o.Certificates), p.Spec.Router.TLS.SecretRef.Name, day(o.Certificates[0].NotAfter))
	}
}

// certificateFaults lists the replicas that refuse the Secret, those that do not
// answer, and how the certificate does not match the published name.
func certificateFaults(p *v1alpha1.ModProxy, o pass.Observed) (refused, unknown []string, mismatch string) {
	name := p.Spec.Router.TLS.SecretRef.Name
	for _, c := range o.Certificates {
		switch {
		case c.Unreachable != "":
			unknown = append(unknown, c.Replica+": "+c.Unreachable)
		case c.Problem != "" && c.Fingerprint == "":
			refused = append(refused, fmt.Sprintf("%s cannot serve: Secret %s: %s", c.Replica, name, c.Problem))
		case c.Problem != "":
			refused = append(refused, fmt.Sprintf("%s goes on with the certificate that is valid until %s: Secret %s: %s", c.Replica, day(c.NotAfter), name, c.Problem))
		case c.NameMismatch != "":
			mismatch = c.NameMismatch
		}
	}
	return refused, unknown, mismatch
}

// withoutCertificate is why no replica can begin to serve, if it is the
// certificate.
func withoutCertificate(p *v1alpha1.ModProxy, o pass.Observed) string {
	if p.Spec.Router.TLS == nil {
		return ""
	}
	refused, _, _ := certificateFaults(p, o)
	return strings.Join(refused, "; ")
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
