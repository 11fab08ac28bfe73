package controllers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/cacherequest"
	"gocache.dev/operator/controllers/cachesnapshot"
	"gocache.dev/operator/controllers/gocache"
	"gocache.dev/operator/controllers/modproxy"
	"gocache.dev/operator/controllers/populator"
	"gocache.dev/operator/internal/kube/gauges"
)

// objects are those of a few lists.
type objects struct {
	lists []client.ObjectList
}

// Each implements gauges.Objects.
func (o objects) Each(_ context.Context, of client.Object, do func(client.Object)) error {
	for _, list := range o.lists {
		if err := apimeta.EachListItem(list, func(one runtime.Object) error {
			if reflect.TypeOf(one) == reflect.TypeOf(of) {
				do(one.(client.Object))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

var at = metav1.NewTime(time.Unix(1_700_000_000, 0))

// some is one object of each kind.
func some() objects {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "team", Name: name} }
	ready := []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionFalse, Reason: "Corrupt"}}
	return objects{lists: []client.ObjectList{
		&v1alpha1.GoCacheList{Items: []v1alpha1.GoCache{{
			ObjectMeta: meta("ci"), Spec: v1alpha1.GoCacheSpec{Suspend: true},
			Status: v1alpha1.GoCacheStatus{
				Conditions: ready, LatestVerifiedSnapshot: "ci-1",
				Counts:            v1alpha1.CacheCounts{Modules: 3, BuildEntries: 7},
				WarmUp:            v1alpha1.WarmUpStatus{LastSuccessTime: &at, Failures: 2},
				Storage:           v1alpha1.CacheStorageStatus{VolumeName: "pv", Used: ptr.To(resource.MustParse("1Ki")), Capacity: ptr.To(resource.MustParse("1Gi"))},
				Integrity:         &v1alpha1.IntegrityStatus{VerificationStatus: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt}, VolumeName: "pv"},
				VolumeReplacement: &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRollback, StartTime: at},
			},
		}}},
		&v1alpha1.CacheSnapshotList{Items: []v1alpha1.CacheSnapshot{
			{
				ObjectMeta: meta("ci-1"), Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
				Status: v1alpha1.CacheSnapshotStatus{CreationTime: &at, Verification: v1alpha1.VerificationStatus{
					Verdict: v1alpha1.VerdictIntact, Bytes: 5, Counts: v1alpha1.VerifiedCounts{Modules: 3, BuildEntries: 7},
				}},
			},
			{
				ObjectMeta: meta("goproxy-blue-1"), Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: "goproxy", Instance: "blue"}},
				Status: v1alpha1.CacheSnapshotStatus{CreationTime: &at},
			},
			{ObjectMeta: meta("ci-2"), Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}}},
		}},
		&v1alpha1.ModProxyList{Items: []v1alpha1.ModProxy{{
			ObjectMeta: meta("goproxy"),
			Status: v1alpha1.ModProxyStatus{
				WeightsPendingSince: &at, InstancesDisagreeSince: &at, ChecksumDatabaseUnreachableSince: &at,
				Instances: []v1alpha1.InstanceStatus{
					{Name: "blue", Healthy: true, Serving: true, DesiredWeight: 100, ObservedWeight: 50, DiskUsedPercent: ptr.To[int32](75), LatestVerifiedSnapshot: "goproxy-blue-1",
						StoreCheck: &v1alpha1.StoreCheckStatus{Verdict: v1alpha1.VerdictIntact, Modules: 9}},
					{Name: "green", Healthy: true, Serving: true, Quarantined: &v1alpha1.Quarantine{Reason: "ChecksumMismatch"}},
				},
			},
		}}},
		&v1alpha1.CacheRequestList{Items: []v1alpha1.CacheRequest{
			{ObjectMeta: meta("q"), Spec: v1alpha1.CacheRequestSpec{Action: v1alpha1.RequestWarmUp}},
			report("default", 10, 2), report("default", 20, 0), report("made up", 1, 0), report("another", 0, 5),
		}},
	}}
}

// report is what a consumer reports of a build.
func report(build string, hits, misses int64) v1alpha1.CacheRequest {
	return v1alpha1.CacheRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: fmt.Sprint("report-", build, hits)},
		Spec: v1alpha1.CacheRequestSpec{
			TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportBuild,
			Build: &v1alpha1.BuildReport{Name: build, Hits: hits, Misses: misses},
		},
		Status: v1alpha1.CacheRequestStatus{Outcome: v1alpha1.RequestSucceeded, CompletionTime: &at},
	}
}

func elected() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func parts() []gauges.Part {
	return []gauges.Part{gocache.Gauges(), cachesnapshot.Gauges(), modproxy.Gauges(), cacherequest.Gauges(), (&populator.Reconciler{}).Gauges()}
}

// exported is what a scraper gets of objects, and the lint of it.
func exported(t *testing.T, o objects, elected <-chan struct{}) string {
	t.Helper()
	e := &gauges.Exporter{}
	e.Export(o, elected, parts()...)
	w := httptest.NewRecorder()
	e.Handler(prometheus.NewPedanticRegistry()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	problems, err := promlint.New(bytes.NewReader(w.Body.Bytes())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	described := map[string]bool{"gocache_object_condition": true, "gocache_object_suspended": true}
	for _, p := range parts() {
		for _, m := range p.Metrics {
			described[m.Name] = true
		}
	}
	once := map[string]bool{}
	for series := range strings.Lines(w.Body.String()) {
		id, _, _ := strings.Cut(series, "} ")
		name, _, _ := strings.Cut(id, "{")
		if strings.HasPrefix(series, "#") {
			continue
		}
		if once[id] || !described[name] {
			t.Errorf("twice, or of a metric that no part describes: %s", series)
		}
		once[id] = true
	}
	return w.Body.String()
}

// TestGauges holds what is exported of one object of each kind.
func TestGauges(t *testing.T) {
	t.Parallel()
	got := exported(t, some(), elected())
	for _, want := range []string{
		`gocache_object_condition{kind="GoCache",name="ci",namespace="team",reason="Corrupt",status="False",type="Ready"} 1`,
		`gocache_object_suspended{kind="GoCache",name="ci",namespace="team"} 1`,
		`gocache_object_suspended{kind="ModProxy",name="goproxy",namespace="team"} 0`,
		`gocache_cache_latest_verified_snapshot_timestamp_seconds{name="ci",namespace="team"} 1.7e+09`,
		`gocache_cache_snapshots{name="ci",namespace="team",verdict="Intact"} 1`,
		`gocache_cache_snapshots{name="ci",namespace="team",verdict="Corrupt"} 0`,
		`gocache_cache_snapshots{name="ci",namespace="team",verdict="None"} 1`,
		`gocache_cache_last_warm_up_timestamp_seconds{name="ci",namespace="team"} 1.7e+09`,
		`gocache_cache_warm_up_failures{name="ci",namespace="team"} 2`,
		`gocache_cache_verdict{name="ci",namespace="team",verdict="Corrupt"} 1`,
		`gocache_cache_verdict{name="ci",namespace="team",verdict="Intact"} 0`,
		`gocache_cache_entries{layer="Build",name="ci",namespace="team"} 7`,
		`gocache_cache_used_bytes{name="ci",namespace="team"} 1024`,
		`gocache_cache_capacity_bytes{name="ci",namespace="team"} 1.073741824e+09`,
		`gocache_cache_volume_replacement_start_timestamp_seconds{name="ci",namespace="team",reason="Rollback"} 1.7e+09`,
		`gocache_snapshot_info{instance="",name="ci-1",namespace="team",source="ci",source_kind="GoCache"} 1`,
		`gocache_snapshot_verdict{name="ci-1",namespace="team",verdict="Intact"} 1`,
		`gocache_snapshot_creation_timestamp_seconds{name="ci-1",namespace="team"} 1.7e+09`,
		`gocache_snapshot_verified_bytes{name="ci-1",namespace="team"} 5`,
		`gocache_snapshot_verified_entries{layer="Modules",name="ci-1",namespace="team"} 3`,
		`gocache_modproxy_instances{name="goproxy",namespace="team",state="Quarantined"} 1`,
		`gocache_modproxy_instances{name="goproxy",namespace="team",state="Serving"} 1`,
		`gocache_modproxy_instances{name="goproxy",namespace="team",state="Unhealthy"} 0`,
		`gocache_modproxy_instance_state{instance="green",name="goproxy",namespace="team",state="Serving"} 0`,
		`gocache_modproxy_instance_state{instance="green",name="goproxy",namespace="team",state="Quarantined"} 1`,
		`gocache_modproxy_instance_desired_weight{instance="blue",name="goproxy",namespace="team"} 100`,
		`gocache_modproxy_instance_observed_weight{instance="blue",name="goproxy",namespace="team"} 50`,
		`gocache_modproxy_instance_disk_used_ratio{instance="blue",name="goproxy",namespace="team"} 0.75`,
		`gocache_modproxy_store_verdict{instance="blue",name="goproxy",namespace="team",verdict="Intact"} 1`,
		`gocache_modproxy_store_modules{instance="blue",name="goproxy",namespace="team"} 9`,
		`gocache_modproxy_latest_verified_snapshot_timestamp_seconds{instance="blue",name="goproxy",namespace="team"} 1.7e+09`,
		`gocache_modproxy_weights_pending_since_timestamp_seconds{name="goproxy",namespace="team"} 1.7e+09`,
		`gocache_modproxy_instances_disagree_since_timestamp_seconds{name="goproxy",namespace="team"} 1.7e+09`,
		`gocache_modproxy_checksum_database_unreachable_since_timestamp_seconds{name="goproxy",namespace="team"} 1.7e+09`,
		`gocache_requests_unfinished{action="WarmUp",namespace="team"} 1`,
		`gocache_cache_reported_builds{build="default",name="ci",namespace="team"} 2`,
		`gocache_cache_reported_hits{build="default",name="ci",namespace="team"} 30`,
		`gocache_cache_reported_misses{build="default",name="ci",namespace="team"} 2`,
		`gocache_cache_reported_builds{build="",name="ci",namespace="team"} 2`,
		`gocache_cache_reported_misses{build="",name="ci",namespace="team"} 5`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("not exported: %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	if strings.Contains(got, `gocache_snapshot_verdict{name="ci-2"`) {
		t.Error("a snapshot that was not verified has a verdict")
	}
}

// TestGaugesOfTheLeader holds that a replica that does not lead exports no object,
// and that objects that are gone leave no series.
func TestGaugesOfTheLeader(t *testing.T) {
	t.Parallel()
	if got := exported(t, some(), make(chan struct{})); got != "" {
		t.Errorf("exported by a replica that does not lead:\n%s", got)
	}
	if got := exported(t, objects{}, elected()); got != "" {
		t.Errorf("exported without objects:\n%s", got)
	}
}

// TestGaugesAreBounded holds how many series one object of each kind costs.
func TestGaugesAreBounded(t *testing.T) {
	t.Parallel()
	series := strings.Count(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(exported(t, some(), elected()), ""), "\n")
	if series > 80 {
		t.Errorf("%d series of 7 objects, want 80 at most", series)
	}
}

// TestGaugesAreDocumented holds that each gauge of an object is in the reference.
func TestGaugesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "reference", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts() {
		for _, m := range part.Metrics {
			labels := "`" + strings.Join(m.Labels, "`, `") + "`"
			if row := fmt.Sprintf("| `%s` | gauge | %s | the manager, port 8443 | %s |", m.Name, labels, m.Help); !slices.Contains(strings.Split(string(page), "\n"), row) {
				t.Errorf("docs/reference/metrics.md lacks %s", row)
			}
		}
	}
}

// enum returns the values that the API allows for a type of strings.
func enum(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "api", "v1alpha1", "*_types.go"))
	if err != nil {
		t.Fatal(err)
	}
	marker := regexp.MustCompile(`\+kubebuilder:validation:Enum=(\S+)\n(?:\s*//.*\n)*type ` + name + ` string`)
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // of this repository
		if err != nil {
			t.Fatal(err)
		}
		if m := marker.FindSubmatch(text); m != nil {
			return strings.Split(string(m[1]), ";")
		}
	}
	t.Fatalf("the API has no enumeration %s", name)
	return nil
}

// TestCountersBeginAtZero holds that each counter of the manager whose labels have
// a fixed set of values is exported before its first event. increase() and rate()
// of Prometheus miss the first event of a series that it begins.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	sources := []string{v1alpha1.GoCacheKind, v1alpha1.ModProxyKind}
	verdicts, outcomes := enum(t, "Verdict"), enum(t, "RunOutcome")
	want := map[string][][]string{ // by metric, the values of each of its labels, which are sorted by name
		"gocache_warm_up_duration_seconds":            {outcomes},
		"gocache_check_duration_seconds":              {verdicts},
		"gocache_cleanup_runs_total":                  {outcomes},
		"gocache_verifications_total":                 {sources, verdicts},
		"gocache_verification_duration_seconds":       {sources},
		"gocache_verification_read_bytes_total":       {sources},
		"gocache_repeated_verifications_total":        {sources, verdicts},
		"gocache_repairs_total":                       {enum(t, "WorkOutcome")},
		"gocache_offline_builds_total":                {enum(t, "WorkOutcome")},
		"gocache_snapshot_stage_duration_seconds":     {{"Snapshot", "Verify", "Repair", "SnapshotRepaired", "VerifyRepaired", "OfflineBuild"}},
		"gocache_clone_duration_seconds":              {{v1alpha1.CacheSnapshotKind, v1alpha1.GoCacheKind}},
		"gocache_modproxy_quarantines_total":          {{"ChecksumMismatch", v1alpha1.ReasonStoreCorrupt}},
		"gocache_modproxy_probe_failures_total":       {enum(t, "ProbeKind")},
		"gocache_modproxy_store_checks_total":         {verdicts},
		"gocache_requests_total":                      {enum(t, "RequestAction"), {"Succeeded", "Failed", "Refused"}},
		"gocache_volume_replacement_duration_seconds": {sources, enum(t, "VolumeReplacementReason"), {"Succeeded", "Failed"}},
		"gocache_push_webhook_requests_total":         {{"Accepted", "Unproven", "UnknownPath", "NotPost", "RateLimited", "TooLarge", "Incomplete", "NotReady"}},
	}
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series := f.GetName()
			for _, l := range m.GetLabel() {
				series += " " + l.GetValue()
			}
			got[series] = true
		}
	}
	for name, labels := range want {
		series := []string{name}
		for _, values := range labels {
			var more []string
			for _, s := range series {
				for _, v := range values {
					more = append(more, s+" "+v)
				}
			}
			series = more
		}
		for _, s := range series {
			if !got[s] {
				t.Errorf("not exported before the first event: %s", s)
			}
		}
	}
}
