package modproxy

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/plan/failover"
)

// TestTargets holds what is probed of which kind of instance.
func TestTargets(t *testing.T) {
	t.Parallel()
	p := &v1alpha1.ModProxy{}
	p.Spec.Probes.Interval, p.Spec.Probes.Timeout = &metav1.Duration{Duration: time.Second}, &metav1.Duration{Duration: time.Minute}
	p.Spec.Probes.Kinds = []v1alpha1.ProbeKind{v1alpha1.ProbeReady, v1alpha1.ProbeDisk, v1alpha1.ProbeConsistency, v1alpha1.ProbeChecksumDatabase}
	p.Spec.Instances = []v1alpha1.ProxyInstance{
		{Name: "own"}, {Name: "external", External: &v1alpha1.ExternalInstance{URL: "https://proxy.example.com"}}, {Name: "none"},
	}
	addresses := map[string]string{"own": "10.0.0.1:8080", "external": "https://proxy.example.com"}
	got := targets(p, addresses, "BQ7J")
	if len(got.Instances) != 2 || !got.Database.Probed {
		t.Fatalf("%+v", got)
	}
	own, external := got.Instances[0], got.Instances[1]
	if own.URL != "http://10.0.0.1:8080" || own.Agent != "http://10.0.0.1:9103" || own.Pages != "http://10.0.0.1:9104" || own.Ready != probe.OwnPage || own.Layout != store.Goproxy ||
		!own.SupportsStoredOnly || !slices.Contains(own.Kinds, failover.Disk) {
		t.Errorf("an own instance: %+v", own)
	}
	if own.Token != "BQ7J" || external.Token != "" {
		t.Errorf("tokens %q and %q: no order goes to an instance of others", own.Token, external.Token)
	}
	if external.URL != "https://proxy.example.com" || external.Agent != "" || external.Pages != "" || external.Ready != probe.AnyPage || external.Layout != "" ||
		external.SupportsStoredOnly || slices.Contains(external.Kinds, failover.Disk) || !slices.Contains(external.Kinds, failover.Consistency) {
		t.Errorf("an external instance: %+v", external)
	}
	p.Spec.ChecksumDatabase = "off"
	delete(addresses, "external")
	got = targets(p, addresses, "BQ7J")
	if kinds := got.Instances[0].Kinds; got.Database.Probed || slices.Contains(kinds, failover.ChecksumDatabase) || slices.Contains(kinds, failover.Consistency) {
		t.Errorf("alone and without a database: %+v", got)
	}
}
