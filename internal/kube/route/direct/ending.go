package direct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/weights"
)

// EndingAnnotation names the pods that must end: name/uid, separated by commas.
const EndingAnnotation = v1alpha1.GroupName + "/ending"

// endGrace is how long a quarantined server's pod has: nothing that it still
// sends is used.
const endGrace = 1

// Pods of the servers.
type Pods struct {
	Client client.Client
	// Reader reads past every cache.
	Reader    client.Reader
	Namespace string
	// Labels select the pods of all servers; with Server they name one's.
	Labels map[string]string
	Server string
}

// Of are a server's pods, with their identity alone.
func (p Pods) Of(ctx context.Context, server string) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	labels := client.MatchingLabels{p.Server: server}
	for key, value := range p.Labels {
		labels[key] = value
	}
	for pod, err := range read.All[corev1.Pod](ctx, p.Reader, &corev1.PodList{}, client.InNamespace(p.Namespace), labels) {
		if err != nil {
			return nil, fmt.Errorf("list the pods of %s: %w", server, err)
		}
		pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}})
	}
	return pods, nil
}

// NoteEnding writes into the desired state which pods must end: those that live named
// before and that are still there, and those of servers that are quarantined
// now and were not in the intent of live. live may be nil.
func (p Pods) NoteEnding(ctx context.Context, live, desired client.Object, servers []route.Server) error {
	var ending []string
	if live != nil {
		var err error
		if ending, err = p.Ending(ctx, live); err != nil {
			return err
		}
		before, _ := Intent(live)
		for _, s := range servers {
			was, known := before.Servers[s.Name]
			if s.State != route.Down || !known || was.State == weights.Down {
				continue
			}
			pods, err := p.Of(ctx, s.Name)
			if err != nil {
				return err
			}
			for _, pod := range pods {
				ending = append(ending, pod.Name+"/"+string(pod.UID))
			}
		}
	}
	slices.Sort(ending)
	annotate(desired, EndingAnnotation, strings.Join(slices.Compact(ending), ","))
	return nil
}

// Ending are the pods in an object that must end, and that are still there.
func (p Pods) Ending(ctx context.Context, o client.Object) ([]string, error) {
	var left []string
	for entry := range strings.SplitSeq(o.GetAnnotations()[EndingAnnotation], ",") {
		name, uid, ok := strings.Cut(entry, "/")
		if !ok {
			continue
		}
		var pod corev1.Pod
		err := p.Reader.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, &pod)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("look whether pod %s has ended: %w", name, err)
		case string(pod.UID) == uid:
			left = append(left, entry)
		}
	}
	return left, nil
}

// End ends the pods that an applied object names, and no others.
func (p Pods) End(ctx context.Context, applied client.Object) error {
	left, err := p.Ending(ctx, applied)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range left {
		name, uid, _ := strings.Cut(entry, "/")
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = p.Namespace, name
		err := p.Client.Delete(ctx, pod, client.GracePeriodSeconds(endGrace), client.Preconditions{UID: ptr.To(types.UID(uid))})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("end pod %s of a quarantined instance: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
