package gocache

import (
	"context"
	"fmt"
	"path"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/goenv"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/warmup"
	"gocache.dev/operator/internal/plan/writer"
)

const (
	toolsDir   = "/tools"
	sourcesDir = "/sources"
	// packagesAnnotation of a writer's pod carries the packages of a source.
	packagesAnnotation = v1alpha1.GroupName + "/packages-"
)

// warmUpAction fills the caches.
func warmUpAction() writerAction {
	return writerAction{
		name:     writer.WarmUp,
		title:    "a warm-up",
		requests: []string{request.WarmUp},
		decide:   (*Reconciler).decideWarmUp,
		waitsFor: (*scope).warmUpWaitsFor,
		job:      (*Reconciler).warmUpJob,
		book:     (*scope).bookWarmUp,
		booked:   func(c *v1alpha1.GoCache) string { return c.Status.WarmUp.Run },
	}
}

// bookWarmUp writes the outcome of a warm-up into the status.
func (s *scope) bookWarmUp() {
	run, status := s.Run, &s.cache.Status.WarmUp
	outcome, message, report := warmOutcome(run)
	s.bookUsage(report.UsedBytes, report.AvailableBytes)
	status.Run, status.Outcome, status.Message = run.Run, outcome, bounded.Text(message, 4096)
	status.StartTime, status.CompletionTime = ptr.To(metav1.NewTime(run.Started)), ptr.To(metav1.NewTime(run.Ended))
	status.Inputs = run.Annotations[v1alpha1.InputsAnnotation]
	if claim := run.Annotations[v1alpha1.PVCUIDAnnotation]; claim != "" {
		if status.PersistentVolumeClaimUID != "" && status.PersistentVolumeClaimUID != claim {
			// What was written to another volume says nothing of this one.
			status.LastSuccessRun, status.LastSuccessTime, status.Failures = "", nil, 0
		}
		status.PersistentVolumeClaimUID = claim
	}
	if outcome == v1alpha1.RunSucceeded {
		s.answerRun(v1alpha1.RequestSucceeded, message)
	} else {
		s.answerRun(v1alpha1.RequestFailed, message)
	}
	if outcome != v1alpha1.RunSucceeded {
		status.Failures++
		return
	}
	status.Failures = 0
	status.LastSuccessRun, status.LastSuccessTime = run.Run, status.CompletionTime
	s.bookCommits(run.Annotations[v1alpha1.CommitsAnnotation])
	was := s.cache.Status.Toolchain
	s.bookContent(report)
	if finding := toolchainFinding(was, s.cache.Status.Toolchain); finding != "" {
		status.Message = bounded.Text(strings.TrimSuffix(finding+"; "+message, "; "), 4096)
	}
}

// bookContent copies what the writer left on the claim.
func (s *scope) bookContent(report warmreport.Report) {
	version, platform, _ := strings.Cut(report.GoVersion, " ")
	s.cache.Status.Counts = v1alpha1.CacheCounts{Modules: report.Modules, BuildEntries: report.BuildEntries}
	s.cache.Status.ManifestDigest = report.ManifestDigest
	s.cache.Status.Toolchain = &v1alpha1.ToolchainRecord{
		Version: version, Platform: platform,
		GoSHA256: report.GoSHA256, CompilerSHA256: report.CompileSHA256,
		GoFlags: bounded.Text(report.GoFlags, 1024), CGOEnabled: bounded.Text(report.CGOEnabled, 1),
		MountPath: s.cache.Spec.Environment.MountPath,
	}
}

// warmOutcome reads how a writer ended. A writer that was disrupted has
// neither succeeded nor failed.
func warmOutcome(run jobrun.Outcome) (v1alpha1.RunOutcome, string, warmreport.Report) {
	if !run.Conclusive() {
		return v1alpha1.RunInconclusive, run.Cause, warmreport.Report{}
	}
	report, err := warmreport.Parse([]byte(run.Message))
	switch {
	case err != nil:
		return v1alpha1.RunFailed, fmt.Sprintf("the agent ended with exit code %d: %s", *run.ExitCode, run.Message), report
	case *run.ExitCode == 0 && report.Outcome == warmreport.Succeeded:
		return v1alpha1.RunSucceeded, report.Message, report
	default:
		return v1alpha1.RunFailed, report.Message, report
	}
}

// decideWarmUp says whether a warm-up is due.
func (r *Reconciler) decideWarmUp(s *scope) (writer.DueAction, bool) {
	status := s.cache.Status.WarmUp
	_, requested := s.Standing(s.cache, request.WarmUp)
	facts := warmup.Observation{
		Now: s.Now, Created: s.cache.CreationTimestamp.Time, Inputs: r.inputs(s), Requested: requested,
		Schedule:  s.Schedules.WarmUp,
		NewVolume: s.NewVolume(s.cache),
		Ran:       status.Run != "", LastInputs: status.Inputs, Failures: status.Failures, Unproven: s.unproven(),
	}
	if status.StartTime != nil && status.CompletionTime != nil {
		facts.LastStart, facts.LastEnd = status.StartTime.Time, status.CompletionTime.Time
	}
	if w := s.cache.Spec.WarmUp; w != nil && len(w.Sources) > 0 {
		s.wakeIn(pass.Interval)
	}
	decision := warmup.Decide(facts)
	s.wakeAt(decision.Wake)
	return writer.DueAction{Cause: decision.Cause, Since: decision.Since, LastStart: facts.LastStart}, decision.Due
}

// warmUpWaitsFor says what keeps a warm-up that is due from starting.
func (s *scope) warmUpWaitsFor() string {
	switch {
	case s.ProxyMissing != "":
		return s.ProxyMissing
	case s.ProxyUnready != "":
		return s.ProxyUnready
	case s.SourceMissing != "":
		return s.SourceMissing
	}
	return s.quietWaitsFor()
}

// quietWaitsFor says what keeps an action that changes the claim from starting:
// a snapshot is of one moment, in which nobody writes.
func (s *scope) quietWaitsFor() string {
	for i := range s.Snapshots {
		if c := &s.Snapshots[i]; capturing(c) {
			return "snapshot " + c.Name + " to be cut"
		}
	}
	return ""
}

// capturing says whether a driver may be cutting a snapshot of the claim now.
func capturing(c *v1alpha1.CacheSnapshot) bool {
	return c.Status.StartTime != nil && c.Status.CreationTime == nil && c.DeletionTimestamp.IsZero() &&
		!meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.StalledCondition)
}

// warmUpJob is the Job that fills the caches: the agent, in the toolchain's image.
func (r *Reconciler) warmUpJob(_ context.Context, s *scope, wish writer.DueAction) (*batchv1.Job, error) {
	cache := s.cache
	mount := cache.Spec.Environment.MountPath
	command := []string{path.Join(toolsDir, "gocache-agent"), "warm", "--root", mount, "--termination-log", "/dev/termination-log", "--expect-go", cache.Spec.Toolchain.Version}
	command = append(command, "--modcache", s.layerDir(v1alpha1.LayerModules, goenv.ModuleCache(mount)))
	command = append(command, "--buildcache", s.layerDir(v1alpha1.LayerBuild, goenv.BuildCache(mount)))
	job := s.writerJob(warmUpAction(), wish)
	job.Annotations[v1alpha1.InputsAnnotation] = r.inputs(s)
	if built := commits(s.Sources); built != "" {
		job.Annotations[v1alpha1.CommitsAnnotation] = built
	}
	r.inToolchain(s, &job)
	if w := cache.Spec.WarmUp; w != nil {
		job.Resources = w.Resources
		if w.Deadline != nil {
			job.Deadline = w.Deadline.Duration
		}
	}
	pod := map[string]string{}
	for i, src := range s.Sources {
		name := fmt.Sprintf("source-%d", i)
		dir := path.Join(sourcesDir, fmt.Sprint(i))
		if src.Git != nil {
			fetch, files, mount := r.checkout(src.Git, i, dir)
			job.Init, job.Volumes, job.Mounts = append(job.Init, fetch), append(job.Volumes, files...), append(job.Mounts, mount)
			command = append(command, "--repository", repositoryFlag(src.Git, dir))
			continue
		}
		job.Volumes = append(job.Volumes, sourceVolume(name, i, src, pod))
		job.Mounts = append(job.Mounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		command = append(command, "--source", dir)
	}
	job.Command = command
	o := job.Object()
	for k, v := range pod {
		metav1.SetMetaDataAnnotation(&o.Spec.Template.ObjectMeta, k, v)
	}
	return o, nil
}

// inToolchain lets a Job's agent run in the toolchain's image, with the claim
// where builds see it and the environment that builds have.
func (r *Reconciler) inToolchain(s *scope, job *jobrun.Spec) {
	job.Image, job.Env = r.toolchainImage(s.cache), goenv.Online(s.Environment(s.cache))
	job.Env["HOME"] = "/tmp"
	job.Init = []corev1.Container{{
		Name: "install", Image: r.Images.Operator, Command: []string{"/gocache-agent", "install", toolsDir},
		VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: toolsDir}},
	}}
	job.Volumes = []corev1.Volume{podspec.Claim(cacheVolume, s.cache.Name), podspec.EmptyDir("tmp"), podspec.EmptyDir("tools")}
	job.Mounts = []corev1.VolumeMount{
		{Name: cacheVolume, MountPath: s.cache.Spec.Environment.MountPath}, {Name: "tmp", MountPath: "/tmp"}, {Name: "tools", MountPath: toolsDir, ReadOnly: true},
	}
}

// sourceVolume shows the agent a source as a directory: the keys of the
// ConfigMap, and the packages to build from an annotation of the pod.
func sourceVolume(name string, i int, src pass.Source, annotations map[string]string) corev1.Volume {
	config := &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: src.Name}}
	for _, key := range src.Keys {
		config.Items = append(config.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	projections := []corev1.VolumeProjection{{ConfigMap: config}}
	if packages := src.Data[pass.PackagesKey]; packages != "" && len(config.Items) < len(src.Data) {
		annotation := packagesAnnotation + fmt.Sprint(i)
		annotations[annotation] = packages
		projections = append(projections, corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
			Path: pass.PackagesKey, FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + annotation + "']"},
		}}}})
	}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: projections}}}
}

// layerDir is where a layer lies: on the claim, or nowhere that lasts.
func (s *scope) layerDir(layer v1alpha1.CacheLayer, onClaim string) string {
	if pass.Has(s.cache, layer) {
		return onClaim
	}
	return path.Join("/tmp", path.Base(onClaim))
}

func (r *Reconciler) toolchainImage(cache *v1alpha1.GoCache) string {
	if cache.Spec.Toolchain.Image != "" {
		return cache.Spec.Toolchain.Image
	}
	return r.Images.ToolchainFor(cache.Spec.Toolchain.Version)
}
