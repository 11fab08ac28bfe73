package apply_test

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gocache.dev/operator/internal/kube/apply"
)

// TestRefused holds which answers of the API server last until a person acts.
func TestRefused(t *testing.T) {
	pvcs := schema.GroupResource{Resource: "persistentvolumeclaims"}
	for want, all := range map[bool][]error{
		true: {
			apierrors.NewForbidden(pvcs, "a", errors.New("exceeded quota")),
			apierrors.NewInvalid(schema.GroupKind{Kind: "PersistentVolumeClaim"}, "a", nil),
			apierrors.NewBadRequest("admission webhook denied the request"),
			fmt.Errorf("create: %w", apierrors.NewBadRequest("denied")),
		},
		false: {nil, errors.New("connection refused"), apierrors.NewConflict(pvcs, "a", nil), apierrors.NewAlreadyExists(pvcs, "a"), apierrors.NewTooManyRequests("", 1), apierrors.NewInternalError(errors.New("x")), apierrors.NewNotFound(pvcs, "a")},
	} {
		for _, err := range all {
			if got := apply.Refused(err); got != want {
				t.Errorf("%v: %t", err, got)
			}
		}
	}
}
