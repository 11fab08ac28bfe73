package scenario

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// Names of the samples.
const (
	Cache  = "ci"
	Proxy  = "goproxy"
	Runner = "runner"
	module = "ci-program" // the ConfigMap with the program
	mount  = "/gocache"
)

// Scenario is one run, in one namespace.
type Scenario struct {
	*Cluster
	// Namespace of all objects of the scenario.
	Namespace string
	// Image of the samples' builders.
	Image string
	// TaskNode is where tasks run, such as go commands; empty: on any node.
	TaskNode string
	n        *Narrator
}

// get reads an object of the scenario.
func (s *Scenario) get(ctx context.Context, name string, into client.Object) error {
	return s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, into)
}

// ready reports whether a set of conditions has Ready=True, and its message.
func ready(conditions []metav1.Condition) (bool, string) {
	c := meta.FindStatusCondition(conditions, v1alpha1.ReadyCondition)
	if c == nil {
		return false, "no condition Ready yet"
	}
	return c.Status == metav1.ConditionTrue, fmt.Sprintf("Ready=%s %s: %s", c.Status, c.Reason, c.Message)
}

// ProxyReady waits until the proxy serves.
func (s *Scenario) ProxyReady(ctx context.Context) (v1alpha1.ModProxy, error) {
	var p v1alpha1.ModProxy
	err := Until(ctx, 2*time.Minute, "ModProxy "+Proxy, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, Proxy, &p); err != nil {
			return false, "", err
		}
		ok, saw := ready(p.Status.Conditions)
		return ok && p.Status.ObservedGeneration == p.Generation && p.Status.Healthy == "2/2", saw + " " + p.Status.Healthy, nil
	})
	return p, err
}

// Warmed waits until the cache is warm.
func (s *Scenario) Warmed(ctx context.Context) (v1alpha1.GoCache, error) {
	var c v1alpha1.GoCache
	err := Until(ctx, 10*time.Minute, "GoCache "+Cache+" to be warm", func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, Cache, &c); err != nil {
			return false, "", err
		}
		_, saw := ready(c.Status.Conditions)
		return c.Status.WarmUp.Outcome == v1alpha1.RunSucceeded, saw, nil
	})
	return c, err
}

// Offered waits until consumers get a snapshot other than the given one.
func (s *Scenario) Offered(ctx context.Context, other string) (v1alpha1.CacheSnapshot, error) {
	var c v1alpha1.GoCache
	var snap v1alpha1.CacheSnapshot
	err := Until(ctx, 5*time.Minute, "a verified snapshot of "+Cache, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, Cache, &c); err != nil {
			return false, "", err
		}
		latest := c.Status.LatestVerifiedSnapshot
		return latest != "" && latest != other, fmt.Sprintf("latest %q, latest verified %q", c.Status.LatestSnapshot, latest), nil
	})
	if err != nil {
		return snap, err
	}
	return snap, s.get(ctx, c.Status.LatestVerifiedSnapshot, &snap)
}

// Request creates a CacheRequest, of which the argument may be empty, and
// waits until it has succeeded.
func (s *Scenario) Request(ctx context.Context, kind, target, name string, action v1alpha1.RequestAction, argument string) (*v1alpha1.CacheRequest, error) {
	q := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	q.Spec = v1alpha1.CacheRequestSpec{TargetRef: v1alpha1.RequestTarget{Kind: kind, Name: target}, Action: action, Argument: argument}
	if err := s.Client.Create(ctx, q); err != nil {
		return nil, fmt.Errorf("create the CacheRequest %s: %w", name, err)
	}
	return q, Until(ctx, time.Minute, "the CacheRequest "+name, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, name, q); err != nil {
			return false, "", err
		}
		if o := q.Status.Outcome; o == v1alpha1.RequestRefused || o == v1alpha1.RequestFailed {
			return false, "", fmt.Errorf("%s: %s", o, q.Status.Message)
		}
		return q.Status.Outcome == v1alpha1.RequestSucceeded, string(q.Status.Outcome) + " " + q.Status.Message, nil
	})
}

// task is a Job of one shell script in the toolchain's image.
type task struct {
	name, script string
	claim        string // mounted at the cache's place; empty: an empty directory
	env          string // ConfigMap of the environment
	src, dir     string // ConfigMap with what is built, and where it lies; empty: the samples' program, at /src
	vars         map[string]string
	image        string // empty: that of the samples' builders
}

// start makes a task's Job again.
func (s *Scenario) start(ctx context.Context, t task) error {
	if err := s.remove(ctx, t.name); err != nil {
		return err
	}
	if t.src == "" {
		t.src, t.dir = module, "/src"
	}
	cache := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	if t.claim != "" {
		cache = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.claim}}
	}
	container := corev1.Container{
		Name: "task", Image: cmp.Or(t.image, s.Image), Command: []string{"sh", "-c", t.script}, WorkingDir: t.dir,
		Env: []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}, {Name: "GOTMPDIR", Value: "/tmp"}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "cache", MountPath: mount}, {Name: "src", MountPath: t.dir}, {Name: "tmp", MountPath: "/tmp"}},
	}
	for k, v := range t.vars {
		container.Env = append(container.Env, corev1.EnvVar{Name: k, Value: v})
	}
	if t.env != "" {
		container.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: t.env}}}}
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: t.name},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch), RunAsNonRoot: ptr.To(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{container},
			Volumes: []corev1.Volume{
				{Name: "cache", VolumeSource: cache},
				{Name: "src", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: t.src}}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		}}},
	}
	if s.TaskNode != "" {
		job.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: s.TaskNode}
	}
	if err := s.Client.Create(ctx, job); err != nil {
		return fmt.Errorf("start Job %s: %w", t.name, err)
	}
	return nil
}

// finish waits for a task's end and returns what it printed.
func (s *Scenario) finish(ctx context.Context, name string, limit time.Duration) (string, error) {
	var job batchv1.Job
	failed := false
	err := Until(ctx, limit, "Job "+name, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, name, &job); err != nil {
			return false, "", err
		}
		for _, c := range job.Status.Conditions {
			if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
				failed = c.Type == batchv1.JobFailed
				return true, "", nil
			}
		}
		return false, fmt.Sprintf("%d pods active", job.Status.Active), nil
	})
	if err != nil {
		return "", err
	}
	out, err := s.logs(ctx, name)
	if err == nil && failed {
		err = fmt.Errorf("job %s failed:\n%s", name, out)
	}
	return out, err
}

// remove removes the Job of a task, if there is one, and waits until its pod is gone,
// which keeps the PVC that it has used.
func (s *Scenario) remove(ctx context.Context, name string) error {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name}}
	err := s.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if err == nil {
		err = Until(ctx, time.Minute, "Job "+name+" to be gone", func(ctx context.Context) (bool, string, error) {
			err := s.get(ctx, name, job)
			return apierrors.IsNotFound(err), "it exists", client.IgnoreNotFound(err)
		})
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove Job %s: %w", name, err)
	}
	return nil
}

// pod is the pod of a Job.
func (s *Scenario) pod(ctx context.Context, job string) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
		return nil, fmt.Errorf("find the pod of Job %s: %w", job, err)
	}
	if len(pods.Items) == 0 {
		return nil, nil
	}
	return &pods.Items[0], nil
}

func (s *Scenario) logs(ctx context.Context, job string) (string, error) {
	pod, err := s.pod(ctx, job)
	if err != nil || pod == nil {
		return "", err
	}
	stream, err := s.Set.CoreV1().Pods(s.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return "", fmt.Errorf("read the log of %s: %w", pod.Name, err)
	}
	defer func() { _ = stream.Close() }()
	b, err := io.ReadAll(stream)
	if err != nil {
		return "", fmt.Errorf("read the log of %s: %w", pod.Name, err)
	}
	return string(b), nil
}
