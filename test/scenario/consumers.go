package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Consumer is what a CI pod with a clone of its own lived through.
type Consumer struct {
	// Bound and Started are how long after it was asked for its PVC was seen
	// bound, and its container began; to a fifth of a second, and to a second.
	Bound, Started time.Duration
	// First is the first build on the clone, and Again the same one repeated
	// there, which links its program again: a warm local build.
	First, Again time.Duration
}

// Consumers lets n pods, each with a clone of its own, build offline, all at
// once, and removes them again.
func (s *Scenario) Consumers(ctx context.Context, n int) ([]Consumer, error) {
	began := time.Now()
	all := make([]Consumer, n)
	name := func(i int) string { return fmt.Sprintf("consumer-%x-%d-of-%d", began.UnixMilli(), i+1, n) }
	for i := range n {
		if err := s.Claim(ctx, name(i)); err != nil {
			return nil, err
		}
		// A program that is there and up to date would not be linked again.
		script := "set -- go build -o /tmp/program .\n" + timed + "rm /tmp/program\n" + timed
		if err := s.start(ctx, task{name: name(i), claim: name(i), env: Cache + "-env-offline", script: script}); err != nil {
			return nil, err
		}
	}
	if err := s.bound(ctx, began, all, name); err != nil {
		return nil, err
	}
	for i := range n {
		out, err := s.finish(ctx, name(i), 10*time.Minute)
		if err != nil {
			return nil, err
		}
		// two lines, of the first and of the repeated build
		first, _, _ := strings.Cut(out, "\n")
		if all[i].First, err = took(first); err != nil {
			return nil, err
		}
		if all[i].Again, err = took(out); err != nil {
			return nil, err
		}
		if err := s.began(ctx, began, name(i), &all[i]); err != nil {
			return nil, err
		}
	}
	for i := range n {
		for _, o := range []client.Object{&batchv1.Job{}, &corev1.PersistentVolumeClaim{}} {
			o.SetNamespace(s.Namespace)
			o.SetName(name(i))
			if err := s.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
				return nil, fmt.Errorf("remove %T %s: %w", o, name(i), err)
			}
		}
	}
	return all, nil
}

// bound notes when each PVC is seen bound.
func (s *Scenario) bound(ctx context.Context, began time.Time, all []Consumer, name func(int) string) error {
	return Until(ctx, 5*time.Minute, fmt.Sprintf("%d PVCs to be bound", len(all)), func(ctx context.Context) (bool, string, error) {
		open := 0
		for i := range all {
			if all[i].Bound > 0 {
				continue
			}
			var claim corev1.PersistentVolumeClaim
			if err := s.get(ctx, name(i), &claim); err != nil {
				return false, "", err
			}
			if claim.Status.Phase == corev1.ClaimBound {
				all[i].Bound = time.Since(began)
			} else {
				open++
			}
		}
		return open == 0, fmt.Sprintf("%d are not", open), nil
	})
}

// began notes when the container of a Job's pod did.
func (s *Scenario) began(ctx context.Context, began time.Time, job string, c *Consumer) error {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
		return fmt.Errorf("list the pods of Job %s: %w", job, err)
	}
	for i := range pods.Items {
		for _, status := range pods.Items[i].Status.ContainerStatuses {
			if t := status.State.Terminated; t != nil {
				c.Started = t.StartedAt.Sub(began)
			}
		}
	}
	return nil
}
