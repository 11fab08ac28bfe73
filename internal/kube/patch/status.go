package patch

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Status writes the status of after if it differs from that of before, and
// reports whether it did. A write by another client in between is a conflict
// error: the pass must be made again on what is there now. An object that is
// gone needs no status.
func Status(ctx context.Context, c client.Client, before, after client.Object) (wrote bool, err error) {
	if equality.Semantic.DeepEqual(before, after) {
		return false, nil
	}
	err = c.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the status of %s/%s: %w", before.GetNamespace(), before.GetName(), err)
	}
	return true, nil
}
