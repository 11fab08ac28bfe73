package pass

import (
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// Observed is what was read in one pass.
type Observed struct {
	// Now is the time of the pass.
	Now time.Time
	// Stored is the ModProxy as the API server has it. An intent is acted on only
	// if it is there already: a crash between the act and the status write would
	// otherwise lose its cause.
	Stored *v1alpha1.ModProxy
	// Addresses of the instances, by name: host:port, or the URL of an external
	// one; absent while unknown.
	Addresses map[string]string
	// Refused is which pods cannot be created or do not run, and why.
	Refused []string
	// Token that the agents accept requests with; empty: there is none yet.
	Token string
	// Certificates that the router's replicas report to serve.
	Certificates []route.Certificate
	// CertificatesUnknown is why the replicas could not be asked for them; nil: they
	// were, or serve none.
	CertificatesUnknown error
	// Found by the probes, by instance.
	Found map[string]prober.Observation
	// Agreed are the checksums that all instances agree on; nil: none were compared
	// yet.
	Agreed map[module.Version]failover.Sums
	// Database is what the probes have found about the checksum database.
	Database prober.DatabaseObservation
	// Snapshots of the stores.
	Snapshots []v1alpha1.CacheSnapshot
	// Arrived: every replica of the router does what was decided in this pass, as
	// read back.
	Arrived bool
}

// Replacing reports whether the volume of an instance's store is being replaced,
// by what was read or by what is about to be written: it must not be used, nor
// created again.
func (o Observed) Replacing(p *v1alpha1.ModProxy, instance string) bool {
	return Instance(p, instance).VolumeReplacement != nil || Instance(o.Stored, instance).VolumeReplacement != nil
}
