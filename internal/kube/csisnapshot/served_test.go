package csisnapshot_test

import (
	"errors"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
)

// unanswered is a mapper of a cluster whose discovery fails.
type unanswered struct{ meta.RESTMapper }

var errUnanswered = errors.New("for a moment")

func (unanswered) RESTMapping(schema.GroupKind, ...string) (*meta.RESTMapping, error) {
	return nil, errUnanswered
}

// TestServed holds that a cluster without CSI snapshots needs a person, and that one
// which does not answer is not taken for such a cluster.
func TestServed(t *testing.T) {
	mapper := meta.NewDefaultRESTMapper(nil)
	stalled := conditions.Stalled(csisnapshot.Served(mapper))
	if stalled == nil || stalled.Reason != v1alpha1.ReasonSnapshotAPIMissing || stalled.RetryAfter != csisnapshot.ServedInterval {
		t.Errorf("not served: %+v", stalled)
	}
	mapper.Add(snapshotv1.SchemeGroupVersion.WithKind("VolumeSnapshot"), meta.RESTScopeNamespace)
	if err := csisnapshot.Served(mapper); err != nil {
		t.Errorf("served: %v", err)
	}
	if err := csisnapshot.Served(unanswered{}); !errors.Is(err, errUnanswered) || conditions.Stalled(err) != nil {
		t.Errorf("no answer: %v", err)
	}
}
