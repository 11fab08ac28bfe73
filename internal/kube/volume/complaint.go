package volume

import (
	"context"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/refusal"
)

// size finds in the text of a provisioner that it is about the size of a volume.
// Drivers use no common words for it, and not all use the code OutOfRange.
var size = regexp.MustCompile(`(?i)\bsize\b|capacity|\bOutOfRange\b`)

// RefusesSize reports whether the text of a provisioner is about the size of a
// volume: some drivers clone a snapshot in exactly its own size.
func RefusesSize(complaint string) bool { return size.MatchString(complaint) }

// progress finds in the text of a provisioner that its driver works on an earlier call:
// the code Aborted of CSI means that an operation on the volume is pending.
var progress = regexp.MustCompile(`(?i)\bcode = Aborted\b|\bin progress\b|\boperation\b.* already exists|clone .*\bpending\b|flatten`)

// InProgress reports whether the text of a provisioner means that the volume is still
// being created, and not that it failed.
func InProgress(complaint string) bool { return progress.MatchString(complaint) }

// CloneSize is the size of a clone that every driver can create from a snapshot:
// that of the snapshot, or, while its driver does not report it, of the volume that
// it was created from; zero: neither is known.
func CloneSize(of *v1alpha1.CacheSnapshot) resource.Quantity {
	if size := of.Status.RestoreSize; size != nil && !size.IsZero() {
		return size.DeepCopy()
	}
	if of.Status.Source != nil && of.Status.Source.Capacity != nil {
		return of.Status.Source.Capacity.DeepCopy()
	}
	return resource.Quantity{}
}

// Complaint is the newest warning about a PVC, read live: a provisioner reports
// in events alone. It is empty when there is none.
func Complaint(ctx context.Context, live client.Reader, claim *corev1.PersistentVolumeClaim) (string, error) {
	text, err := refusal.Newest(ctx, live, claim.Namespace, claim.UID)
	if err != nil {
		return "", fmt.Errorf("PVC %s: %w", claim.Name, err)
	}
	return text, nil
}
