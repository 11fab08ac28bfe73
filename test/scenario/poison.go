package scenario

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// BeginProxy makes the namespace and applies of the samples the proxy alone,
// with additional fields in its spec.
func (c *Cluster) BeginProxy(ctx context.Context, namespace string, n *Narrator, spec map[string]any) (*Scenario, error) {
	return c.begin(ctx, namespace, n, func(o *unstructured.Unstructured) (bool, error) {
		switch o.GetKind() {
		case "ConfigMap":
			return true, nil
		case v1alpha1.ModProxyKind:
		default:
			return false, nil
		}
		for field, value := range spec {
			if nested, ok := value.(map[string]any); ok { // the other fields of the sample stay
				if was, found, _ := unstructured.NestedMap(o.Object, "spec", field); found {
					for k, v := range nested {
						was[k] = v
					}
					value = was
				}
			}
			if err := unstructured.SetNestedField(o.Object, value, "spec", field); err != nil {
				return false, fmt.Errorf("set spec.%s: %w", field, err)
			}
		}
		return true, nil
	})
}

// BeginEmpty makes the namespace with what caches can be made from, and none.
func (c *Cluster) BeginEmpty(ctx context.Context, namespace string, n *Narrator) (*Scenario, error) {
	return c.begin(ctx, namespace, n, func(o *unstructured.Unstructured) (bool, error) { return o.GetKind() == "ConfigMap", nil })
}

// poison puts other bytes into the place of every archive of a store, as
// an attacker with write access would: each is a complete archive still, one bit
// differs in the middle, and what the server noted of the file is gone with it.
const poison = `
set -eu
cd ` + mount + `
find . -name '*.zip' -size +4k | grep '/@v/' > /tmp/list
while read -r f; do
  at=$(($(wc -c < "$f") / 2))
  cat "$f" > "$f.new"
  b=$(dd if="$f" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
  printf "\\$(printf %o $((b ^ 1)))" | dd of="$f.new" bs=1 seek=$at conv=notrunc 2>/dev/null
  mv "$f.new" "$f"
  echo "poisoned $f"
done < /tmp/list
test -s /tmp/list
`

// Poison corrupts the content of the store of an instance, names the files, and
// returns when the first was in its place. Its Job is removed, because it
// would count among the users of the volume.
func (s *Scenario) Poison(ctx context.Context, instance string) (files []string, at time.Time, err error) {
	name := "poison-" + instance
	if err := s.start(ctx, task{name: name, script: poison, claim: Proxy + "-" + instance}); err != nil {
		return nil, at, err
	}
	if _, err := s.finish(ctx, name, time.Minute); err != nil {
		return nil, at, err
	}
	lines, err := s.stamped(ctx, name, false)
	if err != nil {
		return nil, at, err
	}
	for lines.Scan() {
		when, text := splitStamp(lines.Text())
		if file, ok := strings.CutPrefix(text, "poisoned ./"); ok {
			if files = append(files, file); at.IsZero() {
				at = when
			}
		}
	}
	return files, at, s.drop(ctx, name)
}

// drop removes a task, and its pod with it.
func (s *Scenario) drop(ctx context.Context, name string) error {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	if err := s.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove Job %s: %w", name, err)
	}
	return nil
}

// stamped are the lines of a task's log, each with the time of its writing.
func (s *Scenario) stamped(ctx context.Context, name string, follow bool) (*bufio.Scanner, error) {
	pod, err := s.pod(ctx, name)
	if err != nil {
		return nil, err
	}
	if pod == nil {
		return nil, fmt.Errorf("Job %s has no pod", name) //nolint:staticcheck // a kind
	}
	stream, err := s.Set.CoreV1().Pods(s.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: follow, Timestamps: true}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", pod.Name, err)
	}
	context.AfterFunc(ctx, func() { _ = stream.Close() })
	return bufio.NewScanner(stream), nil
}

func splitStamp(line string) (at time.Time, text string) {
	stamp, text, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}, line
	}
	return at, text
}

// endless runs real go commands with an empty module cache each, until it is
// stopped, and prints when each begins and ends.
const endless = `
set -u
worker() {
  i=0
  while :; do
    i=$((i+1)); d=$(mktemp -d)
    echo "begin $1.$i"
    if out=$(GOMODCACHE=$d go mod download 2>&1); then echo "ok $1.$i"; else echo "FAILED $1.$i $(echo "$out" | tr '\n' ' ')"; fi
    rm -rf "$d"; sleep 0.2
  done
}
for w in $(seq "$WORKERS"); do worker "$w" & done
wait
`

// Command is one go command of a client.
type Command struct {
	Began, Ended time.Time
	// Failed is what it printed when it did not succeed.
	Failed string
}

// Clients are real go commands that go on and on.
type Clients struct {
	mu       sync.Mutex
	commands []Command
	err      error
	stop     func()
	done     chan struct{}
}

// Clients begins to run go commands with a value of GOPROXY.
func (s *Scenario) Clients(ctx context.Context, workers int, goproxy string) (*Clients, error) {
	t := task{name: "clients", script: endless, vars: map[string]string{
		"WORKERS": fmt.Sprint(workers), "GOPROXY": goproxy, "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw",
	}}
	if err := s.start(ctx, t); err != nil {
		return nil, err
	}
	err := Until(ctx, time.Minute, "the clients to begin", func(ctx context.Context) (bool, string, error) {
		pod, err := s.pod(ctx, t.name)
		return pod != nil && pod.Status.Phase == corev1.PodRunning, "their pod does not run", err
	})
	if err != nil {
		return nil, err
	}
	following, stop := context.WithCancel(ctx)
	lines, err := s.stamped(following, t.name, true)
	if err != nil {
		stop()
		return nil, err
	}
	c := &Clients{done: make(chan struct{}), stop: stop}
	go func() {
		defer close(c.done)
		c.follow(lines)
	}()
	return c, nil
}

// follow reads the log until it ends.
func (c *Clients) follow(lines *bufio.Scanner) {
	began := map[string]time.Time{}
	for lines.Scan() {
		at, text := splitStamp(lines.Text())
		verb, rest, _ := strings.Cut(text, " ")
		name, output, _ := strings.Cut(rest, " ")
		switch verb {
		case "begin":
			began[name] = at
		case "ok", "FAILED":
			command := Command{Began: began[name], Ended: at}
			if verb == "FAILED" {
				command.Failed = "go mod download: " + output
			}
			c.mu.Lock()
			c.commands = append(c.commands, command)
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	c.err = lines.Err()
	c.mu.Unlock()
}

// Commands that have ended so far.
func (c *Clients) Commands() []Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Command(nil), c.commands...)
}

// Stop ends the clients and returns all that ran. What is under way does not
// count.
func (c *Clients) Stop() ([]Command, error) {
	select {
	case <-c.done: // they ended by themselves, or the log did
		return c.Commands(), fmt.Errorf("the clients ended early: %w", c.err)
	default:
	}
	c.stop()
	<-c.done
	return c.Commands(), nil
}
