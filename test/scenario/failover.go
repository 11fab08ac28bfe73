package scenario

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// downloads runs real go commands with an empty module cache each, several at
// once, a bounded number of times.
const downloads = `
set -u
worker() {
  i=0
  while [ $i -lt "$ROUNDS" ]; do
    i=$((i+1)); d=$(mktemp -d)
    if out=$(GOMODCACHE=$d GOFLAGS=-modcacherw go mod download 2>&1); then echo "ok $1.$i"; else echo "FAILED $1.$i: $out"; fi
    rm -rf "$d"
  done
}
for w in $(seq "$WORKERS"); do worker "$w" & done
wait
echo "done"
`

// Failover is what clients saw while something happened to their proxy.
type Failover struct {
	// Before is how many commands had succeeded when it happened.
	Before int
	// Commands that ran, and those that failed with what they printed.
	Commands int
	Failed   []string
}

// KillInstance kills an instance under a loop of real go mod download.
func (s *Scenario) KillInstance(ctx context.Context, instance string) (Failover, error) {
	return s.UnderDownloads(ctx, func(ctx context.Context) error {
		s.n.Print("Downloads run; killing instance %s now", instance)
		return s.Kill(ctx, instance)
	})
}

// UnderDownloads runs a loop of real go mod download, and lets something happen
// once some have succeeded.
func (s *Scenario) UnderDownloads(ctx context.Context, happen func(context.Context) error) (Failover, error) {
	const workers, rounds = 4, 12
	var result Failover
	t := task{name: "downloads", script: downloads, env: Cache + "-env", vars: map[string]string{"ROUNDS": fmt.Sprint(rounds), "WORKERS": fmt.Sprint(workers)}}
	if err := s.start(ctx, t); err != nil {
		return result, err
	}
	var pod *corev1.Pod
	err := Until(ctx, 2*time.Minute, "the downloads to begin", func(ctx context.Context) (_ bool, _ string, err error) {
		pod, err = s.pod(ctx, t.name)
		return pod != nil && pod.Status.Phase != corev1.PodPending, "the pod is pending", err
	})
	if err != nil {
		return result, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	stream, err := s.Set.CoreV1().Pods(s.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return result, fmt.Errorf("follow the downloads: %w", err)
	}
	defer func() { _ = stream.Close() }()
	happened, done := false, false
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "ok "):
			result.Commands++
		case strings.HasPrefix(line, "FAILED "):
			result.Commands++
			result.Failed = append(result.Failed, line)
		case line == "done":
			done = true
		}
		if !happened && result.Commands == workers*2 {
			happened, result.Before = true, result.Commands
			if err := happen(ctx); err != nil {
				return result, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return result, fmt.Errorf("follow the downloads: %w", err)
	}
	if !happened || !done || result.Commands != workers*rounds {
		return result, fmt.Errorf("the loop ended early: %d of %d commands", result.Commands, workers*rounds)
	}
	return result, nil
}

// Kill ends an instance's pod at once, without a grace period.
func (s *Scenario) Kill(ctx context.Context, instance string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: Proxy + "-" + instance + "-0"}}
	if err := s.Client.Delete(ctx, pod, client.GracePeriodSeconds(0)); err != nil {
		return fmt.Errorf("kill instance %s: %w", instance, err)
	}
	return nil
}
