package writer

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/bounded"
)

// maxSourceMessage of a source or a build, in bytes.
const maxSourceMessage = 2048

// agentSource is a source as the agent is to warm it.
func agentSource(src pass.Source, dir string) warmreport.Source {
	s := warmreport.Source{
		Name: src.Label, Missing: src.Missing, Dir: dir, Repository: src.Git != nil, Packages: src.Spec.Packages, All: src.Spec.Scope == v1alpha1.ScopeAll,
	}
	if src.Spec.Git != nil {
		s.Directories = src.Spec.Git.Directories
	}
	for _, b := range src.Spec.Builds {
		build := warmreport.Build{
			Name: b.Name, Packages: b.Packages, Flags: b.Flags, Vet: ptr.Deref(b.Vet, true), Tests: b.Tests != v1alpha1.TestsNone,
		}
		for _, v := range b.Env {
			if build.Env == nil {
				build.Env = map[string]string{}
			}
			build.Env[v.Name] = v.Value
		}
		s.Builds = append(s.Builds, build)
	}
	return s
}

// sourceStatus is what the agent reported of the sources.
func sourceStatus(reports []warmreport.SourceReport) []v1alpha1.SourceStatus {
	var all []v1alpha1.SourceStatus
	for _, r := range reports[:min(len(reports), 16)] {
		s := v1alpha1.SourceStatus{
			Name: bounded.Text(r.Name, 63), Outcome: outcome(r.Failed), Message: bounded.Text(r.Message, maxSourceMessage),
			Entries: r.Entries, Duration: seconds(r.Seconds), Reason: bounded.Text(r.Reason, 63),
		}
		for _, b := range r.Builds[:min(len(r.Builds), 8)] {
			s.Builds = append(s.Builds, v1alpha1.BuildStatus{
				Name: bounded.Text(b.Name, 32), Outcome: outcome(b.Failed), Message: bounded.Text(b.Message, maxSourceMessage),
				Entries: b.Entries, Duration: seconds(b.Seconds),
			})
		}
		all = append(all, s)
	}
	return all
}

func outcome(failed bool) v1alpha1.RunOutcome {
	if failed {
		return v1alpha1.RunFailed
	}
	return v1alpha1.RunSucceeded
}

func seconds(n float64) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n * float64(time.Second)).Round(100 * time.Millisecond)}
}

// failedSources are the names of the sources that failed in the last run.
func failedSources(sources []v1alpha1.SourceStatus) []string {
	var names []string
	for _, s := range sources {
		if s.Outcome == v1alpha1.RunFailed {
			names = append(names, s.Name)
		}
	}
	return names
}

// tooOld reports whether the last run failed only because all of its sources
// need a newer Go release: no retry can help.
func tooOld(w v1alpha1.WarmUpStatus) bool {
	if w.Outcome != v1alpha1.RunFailed || len(w.Sources) == 0 {
		return false
	}
	for _, s := range w.Sources {
		if s.Reason != warmreport.ToolchainTooOld {
			return false
		}
	}
	return true
}

// TooOld is the sentence about a toolchain that is too old for all sources;
// empty: it is not.
func TooOld(cache *v1alpha1.GoCache) string {
	w := cache.Status.WarmUp
	if !tooOld(w) {
		return ""
	}
	text := "spec.toolchain.version " + cache.Spec.Toolchain.Version + " is too old: set a newer version"
	if cache.Spec.Toolchain.Image != "" {
		text += " and an image of it"
	}
	return text + ". " + strings.TrimSuffix(w.Message, ".")
}
