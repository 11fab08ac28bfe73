package pass

import (
	"context"
	"fmt"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/check"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

// Trust is what the agents compare stores with, read past the caches. What is
// declared and does not exist is an error; a pod must not wait for it, since it
// serves.
func Trust(ctx context.Context, live client.Reader, p *v1alpha1.ModProxy) (check.Trusted, error) {
	trusted, err := check.Trust(ctx, live, p.Namespace, "spec.integrity.trust", p.Spec.Integrity.Trust)
	for i := range trusted.Volumes {
		trusted.Volumes[i].ConfigMap.Optional = ptr.To(true)
	}
	if err != nil {
		return trusted, fmt.Errorf("trust of the stores: %w", err)
	}
	return trusted, nil
}
