package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Enforce creates a ResourceQuota of which so much is used, and returns when the API
// server enforces it: it follows quotas by a watch, and admits everything until that
// reports the new one. It plays the controller that calculates what is used.
func Enforce(ctx context.Context, c client.Client, namespace, name string, hard, used corev1.ResourceList) (*corev1.ResourceQuota, error) {
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if err := c.Create(ctx, quota); err != nil {
		return nil, fmt.Errorf("create the quota: %w", err)
	}
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: used}
	if err := c.Status().Update(ctx, quota); err != nil {
		return nil, fmt.Errorf("set what the quota counts: %w", err)
	}
	err := untilAnswered(ctx, c, quota, func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "exceeded quota: "+name)
	})
	if err != nil {
		return nil, fmt.Errorf("wait until the quota is enforced: %w", err)
	}
	return quota, nil
}

// Lift deletes a ResourceQuota, and returns when the API server does not enforce it any
// more.
func Lift(ctx context.Context, c client.Client, quota *corev1.ResourceQuota) error {
	if err := c.Delete(ctx, quota); err != nil {
		return fmt.Errorf("delete the quota: %w", err)
	}
	if err := untilAnswered(ctx, c, quota, func(err error) bool { return err == nil }); err != nil {
		return fmt.Errorf("wait until the quota is not enforced any more: %w", err)
	}
	return nil
}

// untilAnswered asks the API server for what exceeds a quota until its answer is as
// expected. Nothing is created.
func untilAnswered(ctx context.Context, c client.Client, quota *corev1.ResourceQuota, expected func(error) bool) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = c.Create(ctx, excess(quota), client.DryRunAll)
		return expected(last), nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// excess is more than any quota of a test admits: a pod with limits if the quota counts
// them, or else a PVC.
func excess(quota *corev1.ResourceQuota) client.Object {
	object := metav1.ObjectMeta{Namespace: quota.Namespace, Name: "excess"}
	if _, pods := quota.Spec.Hard[corev1.ResourceLimitsCPU]; pods {
		limits := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("1Ti")}
		return &corev1.Pod{ObjectMeta: object, Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Limits: limits},
		}}}}
	}
	return &corev1.PersistentVolumeClaim{ObjectMeta: object, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Ti")}},
	}}
}

// Quota creates a ResourceQuota with the name compute that no pod fits into.
func Quota(ctx context.Context, c client.Client, namespace string) error {
	return unused(ctx, c, namespace, corev1.ResourceList{corev1.ResourceLimitsCPU: resource.MustParse("1m"), corev1.ResourceLimitsMemory: resource.MustParse("1Mi")})
}

// Counting creates a ResourceQuota with the name compute, which refuses each
// container without a request and a limit of CPU and memory.
func Counting(ctx context.Context, c client.Client, namespace string) error {
	return unused(ctx, c, namespace, corev1.ResourceList{
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

// unused enforces a ResourceQuota with the name compute of which nothing is used.
func unused(ctx context.Context, c client.Client, namespace string, hard corev1.ResourceList) error {
	none := corev1.ResourceList{}
	for name := range hard {
		none[name] = resource.MustParse("0")
	}
	_, err := Enforce(ctx, c, namespace, "compute", hard, none)
	return err
}
