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
// once: ROUNDS times, and for PERIOD seconds.
const downloads = `
set -u
end=$(($(date +%s) + PERIOD))
worker() {
  i=0
  while [ $i -lt "$ROUNDS" ] || [ "$(date +%s)" -lt "$end" ]; do
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

// downloadsName is the name of the Job that downloads.
const downloadsName = "downloads"

// workers is how many downloads run at once.
const workers = 4

// stallAfter is how long the loop is waited for while none of its commands ends. How long
// all of them take depends on the machine.
const stallAfter = 5 * time.Minute

// startDownloads starts the loop, and waits until its pod has begun.
func (s *Scenario) startDownloads(ctx context.Context, rounds int, period time.Duration) (pod *corev1.Pod, err error) {
	err = s.start(ctx, task{name: downloadsName, script: downloads, env: Cache + "-env", vars: map[string]string{
		"ROUNDS": fmt.Sprint(rounds), "WORKERS": fmt.Sprint(workers), "PERIOD": fmt.Sprint(int(period.Seconds())),
	}})
	if err != nil {
		return nil, err
	}
	return pod, Until(ctx, 2*time.Minute, "the downloads to begin", func(ctx context.Context) (_ bool, _ string, err error) {
		pod, err = s.pod(ctx, downloadsName)
		return pod != nil && pod.Status.Phase != corev1.PodPending, "the pod is pending", err
	})
}

// add counts a line of the loop's output, and reports whether it is the last.
func (f *Failover) add(line string) (done bool) {
	switch {
	case strings.HasPrefix(line, "ok "):
		f.Commands++
	case strings.HasPrefix(line, "FAILED "):
		f.Commands++
		f.Failed = append(f.Failed, line)
	}
	return line == "done"
}

// StartDownloads starts a loop of real go mod download that goes on for a period,
// whether it can be watched or not. See [Scenario.FinishDownloads].
func (s *Scenario) StartDownloads(ctx context.Context, period time.Duration) error {
	_, err := s.startDownloads(ctx, 1, period)
	return err
}

// FinishDownloads waits for the end of the loop, and returns what its commands saw.
func (s *Scenario) FinishDownloads(ctx context.Context, limit time.Duration) (Failover, error) {
	var result Failover
	out, err := s.finish(ctx, downloadsName, limit)
	if err != nil {
		return result, err
	}
	done := false
	for line := range strings.Lines(out) {
		done = result.add(strings.TrimSpace(line)) || done
	}
	if !done {
		return result, fmt.Errorf("the loop ended early: %d commands", result.Commands)
	}
	return result, nil
}

// UnderDownloads runs a loop of real go mod download, and lets something happen
// once some have succeeded.
func (s *Scenario) UnderDownloads(ctx context.Context, happen func(context.Context) error) (Failover, error) {
	const rounds = 12
	var result Failover
	pod, err := s.startDownloads(ctx, rounds, 0)
	if err != nil {
		return result, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallAfter, func() { cancel(fmt.Errorf("none ended within %s", stallAfter)) })
	defer stalled.Stop()
	stream, err := s.Set.CoreV1().Pods(s.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return result, fmt.Errorf("follow the downloads: %w", err)
	}
	defer func() { _ = stream.Close() }()
	happened, done := false, false
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		stalled.Reset(stallAfter)
		done = result.add(lines.Text()) || done
		if !happened && result.Commands == workers*2 {
			happened, result.Before = true, result.Commands
			if err := happen(ctx); err != nil {
				return result, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return result, fmt.Errorf("follow the downloads, of which %d of %d have ended: %w", result.Commands, workers*rounds, err)
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
