package writer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/goenv"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/warmup"
	plan "gocache.dev/operator/internal/plan/writer"
)

const (
	toolsDir   = "/tools"
	sourcesDir = "/sources"
)

// warmUp fills the caches.
type warmUp struct{}

func (warmUp) name() plan.Action { return plan.WarmUp }

func (warmUp) title() string { return "a warm-up" }

func (warmUp) requests() []v1alpha1.RequestAction {
	return []v1alpha1.RequestAction{v1alpha1.RequestWarmUp}
}

func (warmUp) recorded(cache *v1alpha1.GoCache) string { return cache.Status.WarmUp.Run }

// record writes the outcome of a warm-up into the status.
func (warmUp) record(t *turn) {
	run, status := t.Run, &t.cache.Status.WarmUp
	outcome, message, report := warmOutcome(run)
	t.recordUsage(growth.Measured{
		Used: report.UsedBytes, Available: report.AvailableBytes, Capacity: report.CapacityBytes, Tree: report.TreeBytes, Inodes: report.Inodes, InodesUsed: report.InodesUsed,
	})
	status.Run, status.Outcome, status.Message = run.Run, outcome, bounded.Text(message, 4096)
	status.CorruptRemoved = max(report.CorruptRemoved, 0)
	status.Capacity = t.usableCapacity()
	status.StartTime, status.CompletionTime = ptr.To(metav1.NewTime(run.Started)), ptr.To(metav1.NewTime(run.Ended))
	again := run.Annotations[v1alpha1.CauseAnnotation] == warmup.Retry && status.Inputs == run.Annotations[v1alpha1.InputsAnnotation] &&
		status.LastSuccessRun != "" && slices.Equal(failedSources(status.Sources), report.FailedSources())
	status.Inputs, status.Sources = run.Annotations[v1alpha1.InputsAnnotation], sourceStatus(report.Sources)
	if uid := run.Annotations[v1alpha1.PVCUIDAnnotation]; uid != "" {
		if status.PersistentVolumeClaimUID != "" && status.PersistentVolumeClaimUID != uid {
			// What was written to another volume is not on this one.
			status.LastSuccessRun, status.LastSuccessTime, status.Failures = "", nil, 0
			if !t.Restored(t.cache) {
				t.cache.Status.ManifestDigest = ""
			}
		}
		status.PersistentVolumeClaimUID = uid
	}
	if outcome == v1alpha1.RunSucceeded {
		t.answerRun(v1alpha1.RequestSucceeded, message)
	} else {
		t.answerRun(v1alpha1.RequestFailed, message)
	}
	t.recordSeal(report.ManifestDigest)
	if outcome != v1alpha1.RunSucceeded {
		status.Failures++
		return
	}
	if failed := report.FailedSources(); len(failed) > 0 {
		status.Failures++
	} else {
		status.Failures, again = 0, false
	}
	if !again { // or each retry would have a snapshot of the same content
		status.LastSuccessRun, status.LastSuccessTime = run.Run, status.CompletionTime
	}
	t.recordCommits(builtCommits(run.Annotations[v1alpha1.CommitsAnnotation], report.FailedSources()))
	was := t.cache.Status.Toolchain
	t.recordContent(report)
	if finding := toolchainFinding(was, t.cache.Status.Toolchain); finding != "" {
		status.Message = bounded.Text(strings.TrimSuffix(finding+"; "+message, "; "), 4096)
	}
}

// due decides whether a warm-up is due.
func (warmUp) due(t *turn) (plan.DueAction, bool) {
	status := t.cache.Status.WarmUp
	_, requested := t.Standing(t.cache, v1alpha1.RequestWarmUp)
	facts := warmup.Observation{
		Now: t.Now, Created: t.cache.CreationTimestamp.Time, Inputs: t.inputs(), Requested: requested,
		Schedule:  t.Schedules.WarmUp,
		NewVolume: t.NewVolume(t.cache),
		Ran:       status.Run != "", LastInputs: status.Inputs, Failures: status.Failures, Unproven: t.unproven(),
		Hopeless: tooOld(status), Expanded: t.expandedSince(status),
	}
	if status.StartTime != nil && status.CompletionTime != nil {
		facts.LastStart, facts.LastEnd = status.StartTime.Time, status.CompletionTime.Time
	}
	if w := t.cache.Spec.WarmUp; w != nil && len(w.Sources) > 0 {
		t.out.WakeIn(pass.Interval)
	}
	if t.SecretRefused != "" || t.WaitsForSecret {
		t.out.WakeIn(pass.SecretInterval)
	}
	decision := warmup.Decide(facts)
	t.out.WakeAt(t.Now, decision.Wake)
	return plan.DueAction{Cause: decision.Cause, Since: decision.Since, LastStart: facts.LastStart}, decision.Due
}

// usableCapacity is the capacity that the next run on the PVC finds: some drivers
// finish an expansion only when a pod mounts the volume. nil: it is not known yet.
func (t *turn) usableCapacity() *resource.Quantity {
	if t.PVC != nil && volume.ExpandedByNextPod(t.PVC) {
		return ptr.To(t.PVC.Spec.Resources.Requests[corev1.ResourceStorage])
	}
	return t.cache.Status.Storage.Capacity
}

// expandedSince reports whether the volume is larger than for the last warm-up.
func (t *turn) expandedSince(last v1alpha1.WarmUpStatus) bool {
	now := t.usableCapacity()
	return now != nil && last.Capacity != nil && now.Cmp(*last.Capacity) > 0
}

// waitsFor is what keeps a warm-up that is due from starting.
func (warmUp) waitsFor(t *turn) string {
	switch {
	case t.Schedules.Invalid != nil && t.NeverWarmed(t.cache):
		return t.Schedules.Invalid.Error()
	case t.ProxyMissing != "":
		return t.ProxyMissing
	case t.ProxyUnready != "":
		return t.ProxyUnready
	case t.SourceMissing != "":
		return t.SourceMissing
	}
	return t.quietWaitsFor()
}

// job is the Job that fills the caches: the agent, in the toolchain's image.
func (warmUp) job(_ context.Context, t *turn, due plan.DueAction) (*batchv1.Job, error) {
	cache := t.cache
	mount := cache.Spec.Environment.MountPath
	command := agentcommand.Warm{
		Root: mount, ExpectGo: cache.Spec.Toolchain.Version, Seal: t.seal(),
		ModCache:   t.layerDir(v1alpha1.LayerModules, goenv.ModuleCache(mount)),
		BuildCache: t.layerDir(v1alpha1.LayerBuild, goenv.BuildCache(mount)),
	}
	job := t.jobSpec(warmUp{}, due)
	job.Annotations[v1alpha1.InputsAnnotation] = t.inputs()
	if built := commits(t.Sources); built != "" {
		job.Annotations[v1alpha1.CommitsAnnotation] = built
	}
	t.inToolchain(&job)
	maps.Copy(job.Env, t.modulesThrough())
	if w := cache.Spec.WarmUp; w != nil {
		job.Resources = w.Resources
		if w.Deadline != nil {
			job.Deadline = w.Deadline.Duration
		}
	}
	if t.ProxySecret != "" {
		volume, mount := proxyCredentials(t.ProxySecret)
		job.Volumes, job.Mounts = append(job.Volumes, volume), append(job.Mounts, mount)
		command.ProxyURL, command.ProxyCredentials = t.ProxyURL, mount.MountPath
	}
	command.StopAfter = stopAfter(job.Deadline)
	timeout := fetchTimeout(job.Deadline, t.Sources)
	for i, src := range t.Sources {
		name := fmt.Sprintf("source-%d", i)
		dir := path.Join(sourcesDir, fmt.Sprint(i))
		if src.Missing != "" {
			command.Sources = append(command.Sources, agentSource(src, "").Flag())
			continue
		}
		if src.Git != nil {
			fetch, files, mount := t.checkout(src.Git, i, dir, timeout)
			job.Init, job.Volumes, job.Mounts = append(job.Init, fetch), append(job.Volumes, files...), append(job.Mounts, mount)
		} else {
			job.Volumes = append(job.Volumes, sourceVolume(name, src))
			job.Mounts = append(job.Mounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		}
		command.Sources = append(command.Sources, agentSource(src, dir).Flag())
	}
	job.Command = agentcommand.In(toolsDir, command)
	return job.Object(), nil
}

// modulesThrough is the proxy for https that the go command reaches the sources of
// modules through, but for the ModProxy, which is in the cluster.
func (t *turn) modulesThrough() map[string]string {
	var direct []string
	if u, err := url.Parse(t.ProxyURL); err == nil && u.Hostname() != "" {
		direct = append(direct, u.Hostname())
	}
	env := t.Proxies.Env(direct...)
	delete(env, "HTTP_PROXY") // a GOPROXY by http is one of the cluster
	return env
}

// stopAfter lets the agent record what it has done before the pod is ended: the
// next warm-up removes what is not recorded. 0: the deadline is too short for that.
func stopAfter(deadline time.Duration) time.Duration {
	margin := max(deadline/10, 30*time.Second)
	if deadline < 4*margin {
		return 0
	}
	return deadline - margin
}

// recordContent copies what the writer left on the PVC.
func (t *turn) recordContent(report warmreport.Report) {
	version, platform, _ := strings.Cut(report.GoVersion, " ")
	t.cache.Status.Counts = v1alpha1.CacheCounts{Modules: report.Modules, BuildEntries: report.BuildEntries}
	t.cache.Status.Toolchain = &v1alpha1.ToolchainRecord{
		Version: bounded.Text(version, 128), Platform: bounded.Text(platform, 64),
		GoSHA256: bounded.Text(report.GoSHA256, 64), CompilerSHA256: bounded.Text(report.CompileSHA256, 64),
		GoFlags: bounded.Text(report.GoFlags, 1024), CGOEnabled: bounded.Text(report.CGOEnabled, 1),
		MountPath: t.cache.Spec.Environment.MountPath,
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
		return v1alpha1.RunFailed, fmt.Sprintf("the agent ended with exit code %d: %s", *run.ExitCode, warmreport.OneLine(run.Message)), report
	case *run.ExitCode == 0 && report.Outcome == warmreport.Succeeded:
		return v1alpha1.RunSucceeded, report.Summary(), report
	default:
		return v1alpha1.RunFailed, warmreport.OneLine(report.Summary()), report
	}
}

// inToolchain lets a Job's agent run in the toolchain's image, with the PVC
// where builds see it and the environment that builds have.
func (t *turn) inToolchain(job *jobrun.Spec) {
	job.Image, job.Env = t.toolchainImage(), goenv.Online(t.Environment(t.cache))
	job.Env["HOME"], job.Work = "/tmp", podspec.Compiling
	job.Init = []corev1.Container{{
		Name: "install", Image: t.Images.Operator, Command: agentcommand.InImage(agentcommand.Install{Dir: toolsDir}),
		VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: toolsDir}},
	}}
	job.Volumes = []corev1.Volume{podspec.Claim(cacheVolume, t.cache.Name), podspec.EmptyDir("tmp"), podspec.EmptyDir("tools")}
	job.Mounts = []corev1.VolumeMount{
		{Name: cacheVolume, MountPath: t.cache.Spec.Environment.MountPath}, {Name: "tmp", MountPath: "/tmp"}, {Name: "tools", MountPath: toolsDir, ReadOnly: true},
	}
}

// sourceVolume shows the agent a source as a directory: the keys of the
// ConfigMap.
func sourceVolume(name string, src pass.Source) corev1.Volume {
	config := &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: src.Name}}
	for _, key := range src.Keys {
		config.Items = append(config.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ConfigMap: config}},
	}}}
}

// layerDir is where a layer is: on the PVC, or nowhere that lasts.
func (t *turn) layerDir(layer v1alpha1.CacheLayer, onClaim string) string {
	if pass.Has(t.cache, layer) {
		return onClaim
	}
	return path.Join("/tmp", path.Base(onClaim))
}

func (t *turn) toolchainImage() string {
	if t.cache.Spec.Toolchain.Image != "" {
		return t.cache.Spec.Toolchain.Image
	}
	return t.Images.ToolchainFor(t.cache.Spec.Toolchain.Version)
}

// inputs is the digest of all that a warm-up is made from: another digest
// means that the cache would come out different.
func (t *turn) inputs() string {
	toolchain := t.toolchainImage()
	if t.cache.Spec.Toolchain.Image != "" { // which does not contain the release
		toolchain += " go" + t.cache.Spec.Toolchain.Version
	}
	b, err := json.Marshal([]any{
		toolchain, pass.Platform(t.cache), t.cache.Spec.Layers, t.cache.Spec.Environment.MountPath, sourceData(t.Sources),
	})
	if err != nil { // strings and maps of strings: cannot fail
		panic("inputs: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// sourceData is what a warm-up takes from each source.
func sourceData(sources []pass.Source) []any {
	var data []any
	for _, s := range sources {
		if s.Git != nil {
			s.Data = map[string]string{"git": s.Git.URL, "commit": s.Git.Commit}
			if len(s.Git.Sparse) > 0 { // another key only where it is set: an upgrade warms nothing again
				s.Data["sparse"] = strings.Join(s.Git.Sparse, "\n")
			}
			if s.Git.Submodules {
				s.Data["submodules"] = "true"
			}
		}
		agent := agentSource(s, "")
		agent.Name, agent.Missing = "", "" // another name builds nothing else, nor does another error
		data = append(data, s.Data, agent)
	}
	return data
}
