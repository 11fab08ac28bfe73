package cachesnapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/offlinebuild"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

const (
	toolsDir   = "/tools"
	programDir = "/program"
	goModKey   = "go.mod"
)

// offlineBuild starts the Job that builds a program from the clone without a
// network. It uses the toolchain and the mount path that the cache was warmed
// with, since the keys of the build cache depend on both.
func (r *Reconciler) offlineBuild(ctx context.Context, s *scope) error {
	job, _, err := r.offlineBuildJob(ctx, s)
	if err != nil {
		return err
	}
	s.begin(stageOfflineBuild)
	return r.start(ctx, s, job)
}

// offlineBuildJob returns the Job of an offline build test.
func (r *Reconciler) offlineBuildJob(ctx context.Context, s *scope) (job jobrun.Spec, known bool, err error) {
	source, desired := s.snapshot.Status.Source, s.snapshot.Spec.Verification.OfflineBuild
	if source.ToolchainImage == "" || !slices.Contains(source.Layers, v1alpha1.LayerModules) {
		return job, false, &conditions.StalledError{
			Reason:  v1alpha1.ReasonInvalidSpec,
			Message: "spec.verification.offlineBuild: " + s.sourceName() + " contains no modules that a build could use: create a CacheSnapshot without offlineBuild",
		}
	}
	program, err := read.Object[corev1.ConfigMap](ctx, r.Live, s.snapshot.Namespace, desired.ConfigMapRef.Name)
	if err != nil {
		return job, false, err
	}
	if program == nil || program.Data[goModKey] == "" {
		return job, false, &conditions.StalledError{
			Reason:  v1alpha1.ReasonSourceNotFound,
			Message: fmt.Sprintf("spec.verification.offlineBuild.configMapRef: ConfigMap %s with key %s does not exist; the build is tried when it does", desired.ConfigMapRef.Name, goModKey),
		}
	}
	job, err = r.job(ctx, s, s.facts.offlineBuild.name, "offline-build")
	if err != nil {
		return job, false, err
	}
	settings := goenv.Settings{MountPath: source.MountPath, Modules: true, Build: slices.Contains(source.Layers, v1alpha1.LayerBuild)}
	job.Env = goenv.Offline(settings)
	buildCache := job.Env["GOCACHE"]
	if !settings.Build {
		buildCache = "/tmp/build"
	}
	job.Image, job.Work = source.ToolchainImage, podspec.Compiling
	job.Command = agentcommand.In(toolsDir, agentcommand.OfflineBuild{
		Program: programDir, ModCache: job.Env["GOMODCACHE"], BuildCache: buildCache, Vendor: desired.Vendor,
	})
	job.Init = []corev1.Container{{
		Name: "install", Image: r.Images.Operator, Command: agentcommand.InImage(agentcommand.Install{Dir: toolsDir}),
		VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: toolsDir}},
	}}
	job.Mounts = []corev1.VolumeMount{
		{Name: cloneVolume, MountPath: source.MountPath}, {Name: "tmp", MountPath: "/tmp"},
		{Name: "tools", MountPath: toolsDir, ReadOnly: true}, {Name: "program", MountPath: programDir, ReadOnly: true},
	}
	job.Volumes = append(job.Volumes, podspec.EmptyDir("tmp"), podspec.EmptyDir("tools"), corev1.Volume{
		Name: "program", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: program.Name},
		}},
	})
	return job, true, nil
}

// recordOfflineBuild writes the outcome of the offline build test into the status.
func (r *Reconciler) recordOfflineBuild(ctx context.Context, s *scope) error {
	report, outcome, message := offlineBuildResult(s.facts.offlineBuild.run)
	if outcome != v1alpha1.WorkInconclusive {
		why, err := r.unproven(ctx, s, s.facts.offlineBuild)
		if err != nil {
			return err
		}
		if why != "" {
			report, outcome, message = offlinebuild.Report{}, v1alpha1.WorkInconclusive, why
		}
	}
	attempts := int32(1)
	if before := s.snapshot.Status.OfflineBuild; before != nil {
		attempts += before.Attempts
	}
	s.snapshot.Status.OfflineBuild = &v1alpha1.OfflineBuildStatus{
		WorkStatus: v1alpha1.WorkStatus{
			Run: s.facts.offlineBuild.run.Run, Attempts: attempts, Outcome: outcome,
			Message: bounded.Text(message, maxMessage), CompletionTime: ptr.To(metav1.NewTime(s.now)),
		},
		Duration: &metav1.Duration{Duration: time.Duration(report.DurationSeconds * float64(time.Second)).Truncate(time.Millisecond)},
		Modules:  report.Modules,
	}
	if outcome == v1alpha1.WorkInconclusive {
		s.discardClones()
	}
	s.end(stageOfflineBuild)
	return nil
}

// offlineBuildResult returns the outcome of an offline build test. It is conclusive
// only if the container ended by itself, and its report and exit code agree.
func offlineBuildResult(run jobrun.Outcome) (offlinebuild.Report, v1alpha1.WorkOutcome, string) {
	if !run.Conclusive() {
		return offlinebuild.Report{}, v1alpha1.WorkInconclusive, run.Cause
	}
	report, err := offlinebuild.Parse([]byte(run.Message))
	if err != nil {
		return offlinebuild.Report{}, v1alpha1.WorkInconclusive, fmt.Sprintf("the agent ended with exit code %d and left no report (%v): %s", *run.ExitCode, err, run.Message)
	}
	switch {
	case report.Outcome == offlinebuild.Succeeded && *run.ExitCode == 0:
		return report, v1alpha1.WorkSucceeded, ""
	case report.Outcome == offlinebuild.Failed && *run.ExitCode != 0:
		return report, v1alpha1.WorkFailed, report.Step + ": " + report.Message
	case report.Outcome == offlinebuild.Inconclusive:
		return report, v1alpha1.WorkInconclusive, report.Message
	}
	return report, v1alpha1.WorkInconclusive, fmt.Sprintf("the agent ended with exit code %d and reported %s", *run.ExitCode, report.Outcome)
}
