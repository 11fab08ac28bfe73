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
	return quota(ctx, c, namespace, corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("1m"), corev1.ResourceLimitsMemory: resource.MustParse("1Mi")})
}

// Counting creates a ResourceQuota with the name compute, which refuses each
// container without a request and a limit of CPU and memory.
func Counting(ctx context.Context, c client.Client, namespace string) error {
	return quota(ctx, c, namespace, corev1.ResourceList{
		corev1.ResourceRequestsCPU: resource.MustParse("4"), corev1.ResourceRequestsMemory: resource.MustParse("8Gi"),
		corev1.ResourceLimitsCPU: resource.MustParse("32"), corev1.ResourceLimitsMemory: resource.MustParse("32Gi"),
	})
}

// Limited creates a LimitRange with the name limits, as a namespace for builds may
// have one.
func Limited(ctx context.Context, c client.Client, namespace string) error {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	limits := &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "limits"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Min: list("5m", "16Mi"), Max: list("8", "8Gi"), Default: list("500m", "512Mi"), DefaultRequest: list("100m", "128Mi"),
		}}},
	}
	if err := c.Create(ctx, limits); err != nil {
		return fmt.Errorf("create the LimitRange: %w", err)
	}
	return nil
}

func quota(ctx context.Context, c client.Client, namespace string, hard corev1.ResourceList) error {
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "compute"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if err := c.Create(ctx, quota); err != nil {
		return fmt.Errorf("create the quota: %w", err)
	}
	none := corev1.ResourceList{}
	for name := range hard {
		none[name] = resource.MustParse("0")
	}
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: none}
	if err := c.Status().Update(ctx, quota); err != nil {
		return fmt.Errorf("set what the quota counts: %w", err)
	}
	return nil
}
