package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Quota creates a ResourceQuota with the name compute that no pod fits into. It
// plays the controller that calculates what is used.
func Quota(ctx context.Context, c client.Client, namespace string) error {
	little := corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("1m"), corev1.ResourceLimitsMemory: resource.MustParse("1Mi")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "compute"}, Spec: corev1.ResourceQuotaSpec{Hard: little}}
	if err := c.Create(ctx, quota); err != nil {
		return fmt.Errorf("create the quota: %w", err)
	}
	none := corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("0"), corev1.ResourceLimitsMemory: resource.MustParse("0")}
	quota.Status = corev1.ResourceQuotaStatus{Hard: little, Used: none}
	if err := c.Status().Update(ctx, quota); err != nil {
		return fmt.Errorf("set what the quota counts: %w", err)
	}
	return nil
}
