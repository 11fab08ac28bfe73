package modproxy

import (
	"context"

	"gocache.dev/operator/internal/kube/route/haproxy"
)

// certified is a router that serves a certificate.
type certified interface {
	Certificates(ctx context.Context) ([]haproxy.Certified, error)
}

// observeCertificate asks the router's replicas what became of the Secret of
// router.tls. They alone read it: the operator has no business with keys.
func (r *Reconciler) observeCertificate(ctx context.Context, s *scope) error {
	if s.proxy.Spec.Router.TLS == nil {
		return nil
	}
	router, ok := r.router(s.proxy).(certified)
	if !ok {
		return nil
	}
	var err error
	s.facts.certificates, err = router.Certificates(ctx)
	return err
}
