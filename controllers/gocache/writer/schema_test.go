package writer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	report "gocache.dev/operator/internal/domain/cleanup"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/webhook"
)

// schema is a part of the schema of a CRD: the bounds of texts and lists.
type schema struct {
	MaxLength  *int              `json:"maxLength"`
	MaxItems   *int              `json:"maxItems"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// statusSchema is that of the status of a GoCache.
func statusSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile("../../../config/crd/bases/cache.gocache.dev_gocaches.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil || len(crd.Spec.Versions) != 1 {
		t.Fatal(err, len(crd.Spec.Versions))
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]
}

// exceeded are the bounds of a schema that a value exceeds.
func exceeded(s schema, at string, value any) (all []string) {
	switch v := value.(type) {
	case string:
		if s.MaxLength != nil && utf8.RuneCountInString(v) > *s.MaxLength {
			all = append(all, fmt.Sprintf("%s has %d characters, at most %d are stored", at, len(v), *s.MaxLength))
		}
	case []any:
		if s.MaxItems != nil && len(v) > *s.MaxItems {
			all = append(all, fmt.Sprintf("%s has %d entries, at most %d are stored", at, len(v), *s.MaxItems))
		}
		for i := range v {
			if s.Items != nil {
				all = append(all, exceeded(*s.Items, fmt.Sprintf("%s[%d]", at, i), v[i])...)
			}
		}
	case map[string]any:
		for key, value := range v {
			all = append(all, exceeded(s.Properties[key], at+"."+key, value)...)
		}
	}
	return all
}

// called is a webhook whose calls have failed with a long error.
type called struct{}

func (called) Notify(webhook.Call) (bool, error) { return true, errors.New(strings.Repeat("e", 9000)) }

// TestLongTextsAreStored holds that no text which a run leaves, however long, makes a status
// that the API server refuses: all of it would be lost.
func TestLongTextsAreStored(t *testing.T) {
	long := strings.Repeat("x", 9000)
	of := statusSchema(t)
	disrupted := ended(0, "", nil)
	disrupted.ExitCode, disrupted.Cause = nil, long
	var checks []report.Check
	for range 20 {
		checks = append(checks, report.Check{Name: long, Result: report.Pass, Message: long})
	}
	failing := append([]report.Check{{Name: long, Result: report.Fail, Message: long}}, checks...)
	for name, run := range map[string]jobrun.Outcome{
		"no report":           ended(2, long, map[string]string{v1alpha1.CauseAnnotation: long}),
		"disrupted":           disrupted,
		"a plan":              ended(0, report.Report{Outcome: report.Planned, Preflight: checks, Plan: planOf("sha256:2", 2)}, nil),
		"a cleanup is paused": ended(0, report.Report{Outcome: report.Paused, Message: long, Preflight: failing}, nil),
		"a cleanup": ended(0, report.Report{Outcome: report.Applied, Message: long, Preflight: checks, ManifestDigest: "sha256:c",
			Proof: &report.Proof{Result: report.Fail, Message: long}}, nil),
		"a warm-up":            ended(0, warmreport.Report{Outcome: warmreport.Succeeded, Message: long, GoVersion: "go1.26.8 linux/amd64", GoFlags: long, CGOEnabled: "10", Sources: manySources(17, 9)}, nil),
		"names of a warm-up":   ended(0, warmreport.Report{Outcome: warmreport.Succeeded, GoVersion: long + " " + long}, nil),
		"digests of a warm-up": ended(0, warmreport.Report{Outcome: warmreport.Succeeded, GoSHA256: long, CompileSHA256: long, ManifestDigest: long}, nil),
		"digests of a plan":    ended(0, report.Report{Outcome: report.Planned, Preflight: checks, Plan: planOf(long, 2)}, nil),
		"digests of a cleanup": ended(0, report.Report{Outcome: report.Applied, ManifestDigest: long, Proof: &report.Proof{Result: report.Pass}}, nil),
		"results of a cleanup": ended(0, report.Report{Outcome: report.Applied, ManifestDigest: "sha256:c", Proof: &report.Proof{Result: report.Result(long)}}, nil),
		"a warm-up failed":     ended(1, warmreport.Report{Outcome: warmreport.Failed, Message: long, Sources: manySources(17, 9)}, nil),
	} {
		for _, a := range actions() {
			turn := warmedOnce()
			turn.cache.Spec.Cleanup = &v1alpha1.Cleanup{Approval: v1alpha1.ApprovalRequired, Webhook: &v1alpha1.Webhook{URL: "https://a.test"}}
			turn.Webhooks = called{}
			accept(turn, a.requests()[0])
			run := run
			req, _ := turn.Standing(turn.cache, a.requests()[0])
			run.Annotations = map[string]string{v1alpha1.CauseAnnotation: long, v1alpha1.PVCUIDAnnotation: "u1", v1alpha1.VolumeAnnotation: "v1", v1alpha1.CacheRequestAnnotation: req.Cause()}
			turn.Run = run
			a.record(turn)
			turn.Stored = turn.cache.DeepCopy()
			if err := turn.notifyPlan(); err != nil {
				t.Fatal(err)
			}
			turn.answerCorrupt()
			text, err := json.Marshal(turn.cache.Status)
			if err != nil {
				t.Fatal(err)
			}
			var status any
			if err := json.Unmarshal(text, &status); err != nil {
				t.Fatal(err)
			}
			if all := exceeded(of, "status", status); len(all) > 0 {
				t.Errorf("%s, recorded as %s:\n%s", name, a.title(), strings.Join(all, "\n"))
			}
		}
	}
}
