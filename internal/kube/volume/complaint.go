package volume

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/refusal"
)

// Complaint is the newest warning about a PVC, read live: a provisioner reports
// in events alone. It is empty when there is none.
func Complaint(ctx context.Context, live client.Reader, claim *corev1.PersistentVolumeClaim) (string, error) {
	text, err := refusal.Newest(ctx, live, claim.Namespace, claim.UID)
	if err != nil {
		return "", fmt.Errorf("PVC %s: %w", claim.Name, err)
	}
	return text, nil
}
