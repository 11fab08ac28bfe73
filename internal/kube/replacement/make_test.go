package replacement_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/check"
)

// mounts are what a container has mounted, like "next:/cache" or "next:/cache:ro".
func mounts(c corev1.Container) []string {
	var all []string
	for _, m := range c.VolumeMounts {
		text := m.Name + ":" + m.MountPath
		if m.ReadOnly {
			text += ":ro"
		}
		all = append(all, text)
	}
	return all
}

// pvcs are the PVCs that a pod mounts, by volume.
func pvcs(p corev1.PodSpec) map[string]string {
	all := map[string]string{}
	for _, v := range p.Volumes {
		if v.PersistentVolumeClaim != nil {
			all[v.Name] = v.PersistentVolumeClaim.ClaimName
		}
	}
	return all
}

// TestMakeNext holds what the new volume is made from, that the check mounts it
// read-only, and that it is filled by nothing but what the intent names.
func TestMakeNext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*world)
		class  string // of the next PVC; empty: the default
		from   string // the VolumeSnapshot; empty: it begins empty
		source bool
		pvcs   map[string]string
		init   string // a part of the init container's command
		mounts []string
		agent  string // a part of the main container's command
	}{
		{
			name: "a clone", class: "fast", from: "csi-1",
			pvcs: map[string]string{"next": "ci-next"}, agent: "verify --json --termination-log /dev/termination-log --modcache /cache/",
		},
		{
			name: "a clone of the default class", change: func(w *world) { w.run.Intent.StorageClassName = "" }, from: "csi-1",
			pvcs: map[string]string{"next": "ci-next"}, agent: "verify",
		},
		{
			name: "a copy", change: func(w *world) { w.run.Intent.Copied = true }, class: "fast", source: true,
			pvcs: map[string]string{"next": "ci-next", "source": "ci-next-source"},
			init: "restore --from /source --to /cache --no-verify", mounts: []string{"source:/source:ro", "next:/cache"}, agent: "verify",
		},
		{
			name: "empty", change: func(w *world) {
				w.run.Intent.Snapshot, w.run.Content.Snapshot = "", nil
				w.run.Content.Empty = newRecord()
				w.run.Content.Empty.Layout = "goproxy"
			}, class: "fast",
			pvcs: map[string]string{"next": "ci-next"}, init: "store --store /cache/", mounts: []string{"next:/cache"}, agent: "--layout goproxy",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.change != nil {
				tt.change(w)
			}
			w.must(w.run.MakeNext(t.Context(), w.run.Content))
			next := get[corev1.PersistentVolumeClaim](w, "ci-next")
			if ptr.Deref(next.Spec.StorageClassName, "") != tt.class || next.Spec.AccessModes[0] != corev1.ReadWriteOncePod {
				t.Errorf("next PVC %+v", next.Spec)
			}
			if size := next.Spec.Resources.Requests[corev1.ResourceStorage]; size.Cmp(resource.MustParse("5Gi")) != 0 {
				t.Errorf("size %s", size.String())
			}
			from := ""
			if d := next.Spec.DataSource; d != nil {
				from = d.Name
			}
			if from != tt.from {
				t.Errorf("made from %q, want %q", from, tt.from)
			}
			source := get[corev1.PersistentVolumeClaim](w, "ci-next-source")
			if (source != nil) != tt.source {
				t.Errorf("source %+v", source)
			}
			pod := get[batchv1.Job](w, "ci-next").Spec.Template.Spec
			if diff := cmp.Diff(tt.pvcs, pvcs(pod)); diff != "" {
				t.Errorf("PVCs of the Job: %s", diff)
			}
			agent := pod.Containers[0]
			if got := mounts(agent); !slices.Equal(got, []string{"next:/cache:ro"}) {
				t.Errorf("the check mounts %v", got)
			}
			if command := strings.Join(agent.Command, " "); !strings.Contains(command, tt.agent) || agent.Image != "example.com/operator:1" {
				t.Errorf("the check runs %s of %s, want %s", command, agent.Image, tt.agent)
			}
			if (len(pod.InitContainers) > 0) != (tt.init != "") {
				t.Fatalf("init containers %+v", pod.InitContainers)
			}
			if tt.init == "" {
				return
			}
			init := pod.InitContainers[0]
			if command := strings.Join(init.Command, " "); !strings.Contains(command, tt.init) || init.Image != "example.com/operator:1" {
				t.Errorf("before that runs %s of %s, want %s", command, init.Image, tt.init)
			}
			if got := mounts(init); !slices.Equal(got, tt.mounts) {
				t.Errorf("before that mounts %v, want %v", got, tt.mounts)
			}
		})
	}
}

// TestSource holds that what is copied from is as its driver makes it, and large
// enough for it.
func TestSource(t *testing.T) {
	for _, tt := range []struct {
		name             string
		restore, had     string
		class, wantClass string
		want             string
	}{
		{"the volume was larger", "3Gi", "4Gi", "standard", "standard", "4Gi"},
		{"the snapshot needs more", "5Gi", "4Gi", "standard", "standard", "5Gi"},
		{"of the default class", "3Gi", "4Gi", "", "", "4Gi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.run.Intent.Copied = true
			status := &w.run.Content.Snapshot.Status
			status.RestoreSize, status.Source.Capacity = ptr.To(resource.MustParse(tt.restore)), ptr.To(resource.MustParse(tt.had))
			status.Source.StorageClassName = tt.class
			w.must(w.run.MakeNext(t.Context(), w.run.Content))
			source := get[corev1.PersistentVolumeClaim](w, "ci-next-source")
			if size := source.Spec.Resources.Requests[corev1.ResourceStorage]; size.Cmp(resource.MustParse(tt.want)) != 0 {
				t.Errorf("size %s, want %s", size.String(), tt.want)
			}
			if ptr.Deref(source.Spec.StorageClassName, "") != tt.wantClass || source.Spec.DataSource == nil || source.Spec.DataSource.Name != "csi-1" {
				t.Errorf("source %+v", source.Spec)
			}
		})
	}
}

// TestJob holds what else the Job is given: trust, resources, a deadline, the
// files' ownership, and nodes that can reach the volume.
func TestJob(t *testing.T) {
	near := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}},
	}}}
	w := newWorld(t)
	old := get[corev1.PersistentVolume](w, "old")
	old.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: near}
	w.must(w.client.Update(t.Context(), old))
	c := w.run.Content
	c.Snapshot.Status.Source.Ownership = &v1alpha1.Ownership{RunAsUser: ptr.To[int64](7)}
	c.Trusted = check.Trusted{
		Trust: agentcommand.Trust{SumDB: "db"}, Volumes: []corev1.Volume{{Name: "trust-0"}}, Mounts: []corev1.VolumeMount{{Name: "trust-0", MountPath: "/trust/0", ReadOnly: true}},
	}
	c.Template = &v1alpha1.PodTemplate{PriorityClassName: "low"}
	c.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"memory": resource.MustParse("1Gi")}}
	c.Deadline = ptr.To(5 * time.Minute)
	w.must(w.run.MakeNext(t.Context(), c))
	job := get[batchv1.Job](w, "ci-next")
	pod := job.Spec.Template.Spec
	agent := pod.Containers[0]
	for what, wrong := range map[string]bool{
		"deadline":  ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0) != 300,
		"labels":    job.Labels[v1alpha1.ActionLabel] != "replacement" || job.Labels[v1alpha1.CacheLabel] != "ci",
		"owner":     len(job.OwnerReferences) != 1 || job.OwnerReferences[0].UID != "owner-uid",
		"trust":     !slices.Equal(agent.Command[len(agent.Command)-2:], []string{"--sumdb", "db"}) || !slices.Contains(mounts(agent), "trust-0:/trust/0:ro"),
		"template":  pod.PriorityClassName != "low",
		"resources": agent.Resources.Limits.Memory().Cmp(resource.MustParse("1Gi")) != 0,
		"ownership": ptr.Deref(pod.SecurityContext.RunAsUser, 0) != 7,
		"platform":  pod.NodeSelector["kubernetes.io/arch"] != "arm64",
		"near":      cmp.Diff(near, pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != "",
	} {
		if wrong {
			t.Errorf("%s: %+v", what, job)
		}
	}

	// A copy reads a clone of the same snapshot, which the same nodes reach.
	w.run.Intent.Copied = true
	w.must(w.client.Delete(t.Context(), job))
	w.must(w.run.MakeNext(t.Context(), c))
	job = get[batchv1.Job](w, "ci-next")
	if a := job.Spec.Template.Spec.Affinity; a == nil || cmp.Diff(near, a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != "" {
		t.Errorf("a copy runs on nodes %+v, want %+v", a, near)
	}

	// Without a deadline it is an hour, and a volume that is gone restricts nothing.
	w = newWorld(t)
	w.run.Content.Snapshot.Status.Source.VolumeName = "gone"
	w.must(w.run.MakeNext(t.Context(), w.run.Content))
	job = get[batchv1.Job](w, "ci-next")
	if ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0) != 3600 || job.Spec.Template.Spec.Affinity != nil {
		t.Errorf("Job %+v", job.Spec)
	}
}

// TestMakeNextIsRepeated holds that a second pass writes nothing.
func TestMakeNextIsRepeated(t *testing.T) {
	w := newWorld(t)
	w.run.Intent.Copied = true
	w.must(w.run.MakeNext(t.Context(), w.run.Content))
	w.passing = true
	w.must(w.run.MakeNext(t.Context(), w.run.Content))
	if len(w.writes) > 0 {
		t.Errorf("written %v", w.writes)
	}
}

// TestMakeNextFails holds that each call that fails is reported, and that no Job
// is made on a volume that could not be made.
func TestMakeNextFails(t *testing.T) {
	for _, copied := range []bool{false, true} {
		for _, failing := range []string{
			"apply PersistentVolumeClaim ci-next", "apply PersistentVolumeClaim ci-next-source", "get PersistentVolume old", "create Job ci-next",
		} {
			if copied == (failing == "get PersistentVolume old") || !copied && strings.HasSuffix(failing, "source") {
				continue // it is not called
			}
			w := newWorld(t)
			w.run.Intent.Copied = copied
			w.passing = true
			w.fail = func(verb, kind, name string) error {
				if verb+" "+kind+" "+name == failing {
					return errBroken
				}
				return nil
			}
			err := w.run.MakeNext(t.Context(), w.run.Content)
			w.passing = false
			if !errors.Is(err, errBroken) {
				t.Errorf("%s fails: %v", failing, err)
			}
			if job := get[batchv1.Job](w, "ci-next"); job != nil {
				t.Errorf("%s fails, and a Job was made", failing)
			}
		}
	}
}
