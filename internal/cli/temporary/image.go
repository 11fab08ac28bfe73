package temporary

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// OperatorImage is the image of the operator that is installed in a namespace:
// it has the agent.
func OperatorImage(ctx context.Context, c client.Reader, namespace string) (string, error) {
	var all appsv1.DeploymentList
	err := c.List(ctx, &all, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": v1alpha1.ManagedByValue})
	if apierrors.IsForbidden(err) {
		return "", fmt.Errorf("the image of the operator is not known: you may not read Deployments in namespace %s; name the image with --image", namespace)
	}
	if err != nil {
		return "", fmt.Errorf("read the image of the operator: %w", err)
	}
	for i := range all.Items {
		for _, container := range all.Items[i].Spec.Template.Spec.Containers {
			return container.Image, nil
		}
	}
	return "", fmt.Errorf("the operator is not installed in namespace %s: name its namespace with --operator-namespace, or an image of it with --image", namespace)
}
