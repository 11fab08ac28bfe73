package monitoring

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

const (
	root = "../.."
	// runbooks is the base of all runbook URLs: the folder docs.
	runbooks = "https://gocache.dev/operator/docs/"
)

// table has, for each alert, series in the notation of Prometheus' tests, one sample
// a minute.
var table = map[string]struct {
	// fires at minute at, and not a minute earlier unless that is 0.
	fires string
	at    int
	// want is a part of the summary or the description.
	want string
	// quiet must never fire, up to minute at.
	quiet string
}{
	"GocacheManagerDown": {
		`other 1x20`, 10, "No manager",
		`gocache_build_info{version="v1"} 1x20`},
	"GocacheReconcileErrors": {
		`controller_runtime_reconcile_errors_total{controller="modproxy"} 0+60x60`, 31, "Controller modproxy",
		`controller_runtime_reconcile_errors_total{controller="modproxy"} 0+1x60`},
	"GocacheObjectStalled": {
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Stalled",status="True",reason="InvalidSpec"} 1x30`, 15, "reason InvalidSpec",
		`gocache_object_condition{kind="CacheSnapshot",namespace="ci",name="x",type="Stalled",status="True",reason="Corrupt"} 1x30
		 gocache_object_condition{kind="GoCache",namespace="ci",name="y",type="Stalled",status="False",reason="Ready"} 1x30`},
	"GocacheCacheNotReady": {
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Ready",status="False",reason="Waiting"} 1x90 _x200
		 gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Ready",status="False",reason="Warming"} _x91 1x200
		 gocache_object_suspended{kind="GoCache",namespace="ci",name="x"} 0x300`, 180, "GoCache ci/x",
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Ready",status="False",reason="Suspended"} 1x300
		 gocache_object_suspended{kind="GoCache",namespace="ci",name="x"} 1x300
		 gocache_object_condition{kind="GoCache",namespace="ci",name="y",type="Ready",status="True",reason="CacheReady"} 1x300`},
	"GocacheWarmUpFailing": {
		`gocache_cache_warm_up_failures{namespace="ci",name="x"} 3x20`, 5, "3 warm-ups of GoCache ci/x",
		`gocache_cache_warm_up_failures{namespace="ci",name="x"} 2x20`},
	"GocacheSnapshotOld": {
		`gocache_cache_latest_verified_snapshot_timestamp_seconds{namespace="ci",name="x"} -259300x90`, 60, "ci/x was created 3d",
		`gocache_cache_latest_verified_snapshot_timestamp_seconds{namespace="ci",name="x"} 0x90
		 gocache_cache_latest_verified_snapshot_timestamp_seconds{namespace="ci",name="y"} -259300x90
		 gocache_object_suspended{kind="GoCache",namespace="ci",name="y"} 1x90`},
	"GocacheSnapshotNotVerifiedAgain": {
		`gocache_cache_latest_verified_snapshot_repeat_timestamp_seconds{namespace="ci",name="x"} -172900x90`, 60, "GoCache ci/x was to be verified again 2d",
		`gocache_cache_latest_verified_snapshot_repeat_timestamp_seconds{namespace="ci",name="x"} 0x90
		 gocache_cache_latest_verified_snapshot_repeat_timestamp_seconds{namespace="ci",name="y"} -172900x90
		 gocache_object_suspended{kind="GoCache",namespace="ci",name="y"} 1x90`},
	"GocacheSnapshotCorrupt": {
		`gocache_snapshot_verdict{namespace="ci",name="x-1",verdict="Corrupt"} 1x9`, 1, "CacheSnapshot ci/x-1",
		`gocache_snapshot_verdict{namespace="ci",name="x-1",verdict="Corrupt"} 0x9
		 gocache_snapshot_verdict{namespace="ci",name="x-1",verdict="Intact"} 1x9`},
	"GocacheCacheCorrupt": {
		`gocache_cache_verdict{namespace="ci",name="x",verdict="Corrupt"} 1x9`, 1, "GoCache ci/x",
		`gocache_cache_verdict{namespace="ci",name="x",verdict="Corrupt"} 0x9`},
	"GocacheVolumeFull": {
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="StorageSufficient",status="False",reason="AtLimit"} 1x30
		 gocache_cache_used_bytes{namespace="ci",name="x"} 90x30
		 gocache_cache_capacity_bytes{namespace="ci",name="x"} 100x30`, 15, "GoCache ci/x",
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="StorageSufficient",status="False",reason="Growing"} 1x30
		 gocache_cache_used_bytes{namespace="ci",name="x"} 90x30
		 gocache_cache_capacity_bytes{namespace="ci",name="x"} 100x30`},
	"GocacheCleanupBlocked": {
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Clean",status="False",reason="CleanupPaused"} 1x90`, 60, "reason CleanupPaused",
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="Clean",status="False",reason="ApprovalRequired"} 1x90`},
	"GocacheVolumeReplacementSlow": {
		`gocache_cache_volume_replacement_start_timestamp_seconds{namespace="ci",name="x",reason="Migration"} -21600x30`, 6, "(Migration) of GoCache ci/x",
		`gocache_cache_volume_replacement_start_timestamp_seconds{namespace="ci",name="x",reason="Migration"} 0x30`},
	"GocachePoolNotFilled": {
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="PoolFilled",status="False",reason="PoolFailing"} 1x90`, 60, "reason PoolFailing",
		`gocache_object_condition{kind="GoCache",namespace="ci",name="x",type="PoolFilled",status="False",reason="PoolFilling"} 1x90`},
	"GocacheConsumersWaiting": {
		`gocache_consumer_pvcs_waiting{namespace="ci",source_kind="GoCache",source="x",state="NothingVerified"} 2x20 _x40
		 gocache_consumer_pvcs_waiting{namespace="ci",source_kind="GoCache",source="x",state="Cloning"} _x21 2x40`, 30, "2 PVCs that name GoCache ci/x",
		`gocache_consumer_pvcs_waiting{namespace="ci",source_kind="GoCache",source="x",state="WaitingForNode"} 2x60`},
	"GocacheUnpopulatedPVC": {
		`gocache_unpopulated_pvcs_total{namespace="ci"} _x5 1x30`, 5, "namespace ci",
		`gocache_unpopulated_pvcs_total{namespace="ci"} 0x30`},
	"GocacheInstanceQuarantined": {
		`gocache_modproxy_instance_state{namespace="ci",name="p",instance="blue",state="Quarantined"} 1x9`, 1, "instance blue of ModProxy ci/p",
		`gocache_modproxy_instance_state{namespace="ci",name="p",instance="blue",state="Quarantined"} 0x9`},
	"GocacheNoServingInstance": {
		`gocache_modproxy_instances{namespace="ci",name="p",state="Serving"} 0x9`, 2, "ModProxy ci/p",
		`gocache_modproxy_instances{namespace="ci",name="p",state="Serving"} 1x9
		 gocache_modproxy_instances{namespace="ci",name="p",state="Unhealthy"} 0x9`},
	"GocacheInstanceUnhealthy": {
		`gocache_modproxy_instance_state{namespace="ci",name="p",instance="blue",state="Unhealthy"} 1x30`, 15, "Instance blue of ModProxy ci/p",
		`gocache_modproxy_instance_state{namespace="ci",name="p",instance="blue",state="Unhealthy"} 1x9 0x30`},
	"GocacheInstanceDiskFull": {
		`gocache_modproxy_instance_disk_used_ratio{namespace="ci",name="p",instance="blue"} 0.95x30`, 15, "uses 95% of its volume",
		`gocache_modproxy_instance_disk_used_ratio{namespace="ci",name="p",instance="blue"} 0.85x30`},
	"GocacheWeightsPending": {
		`gocache_modproxy_weights_pending_since_timestamp_seconds{namespace="ci",name="p"} 0x30`, 6, "ModProxy ci/p",
		`gocache_modproxy_weights_pending_since_timestamp_seconds{namespace="ci",name="p"} 0x4 stale`},
	"GocacheInstancesDisagree": {
		`gocache_modproxy_instances_disagree_since_timestamp_seconds{namespace="ci",name="p"} 1x30`, 5, "ModProxy ci/p",
		`gocache_modproxy_instances_disagree_since_timestamp_seconds{namespace="ci",name="p"} 1x2 stale`},
	"GocacheChecksumDatabaseUnreachable": {
		`gocache_modproxy_checksum_database_unreachable_since_timestamp_seconds{namespace="ci",name="p"} 1x30`, 15, "ModProxy ci/p",
		`gocache_modproxy_checksum_database_unreachable_since_timestamp_seconds{namespace="ci",name="p"} 1x9 stale`},
	"GocacheSpoiledAnswers": {
		`gocache_router_spoiled_answers_total{namespace="ci",proxy="p",pod="r-1",instance="blue",reason="checksum"} _x5 1x30`, 5, "instance blue (checksum)",
		`gocache_router_spoiled_answers_total{namespace="ci",proxy="p",pod="r-1",instance="blue",reason="checksum"} 0x30`},
	"GocacheCertificateExpires": {
		`gocache_router_certificate_expiry_timestamp_seconds{namespace="ci",pod="r-1"} 600000x90`, 60, "router pod ci/r-1",
		`gocache_router_certificate_expiry_timestamp_seconds{namespace="ci",pod="r-1"} 0x90
		 gocache_router_certificate_expiry_timestamp_seconds{namespace="ci",pod="r-2"} 700000x90`},
}

// load reads the rules as Prometheus does, which validates them.
func load(t *testing.T) []rulefmt.Rule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "config/prometheus/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec map[string]any `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	if data, err = yaml.Marshal(object.Spec); err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(data, false, model.UTF8Validation, parser.NewParser(parser.Options{}), promslog.NewNopLogger())
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestAlerts evaluates each rule.
func TestAlerts(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, rule := range load(t) {
		tested[rule.Alert] = true
		tt, ok := table[rule.Alert]
		if !ok {
			t.Errorf("%s: add series to the table", rule.Alert)
			continue
		}
		t.Run(rule.Alert, func(t *testing.T) {
			t.Parallel()
			since, alert := firing(t, rule, tt.fires, tt.at)
			if since != tt.at {
				t.Fatalf("fires at minute %d, want %d (-1: it does not)", since, tt.at)
			}
			text := alert.Annotations.Get("summary") + "\n" + alert.Annotations.Get("description")
			if !strings.Contains(text, tt.want) || strings.Contains(text, "error expanding") || strings.Contains(text, "<no value>") {
				t.Errorf("%s\nwant %q", text, tt.want)
			}
			if since, alert := firing(t, rule, tt.quiet, tt.at+1); since >= 0 {
				t.Errorf("fires at minute %d without cause: %s", since, alert.Labels)
			}
		})
	}
	for name := range table {
		if !tested[name] {
			t.Errorf("%s is in the table and is no alert", name)
		}
	}
}

// firing evaluates a rule each minute, and returns the first minute at which it
// fires, and the alert; -1 if it does not until the last. An alert must not end a
// minute after it began.
func firing(t *testing.T, rule rulefmt.Rule, series string, last int) (int, *rules.Alert) {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n"+regexp.MustCompile(`(?m)^\s*`).ReplaceAllString(series, "  "))
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
	if err != nil {
		t.Fatal(err)
	}
	alerting := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), 0, labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations),
		labels.EmptyLabels(), "", true, promslog.NewNopLogger())
	first, found := -1, (*rules.Alert)(nil)
	for minute := range last + 2 {
		now := time.Unix(int64(minute)*60, 0)
		if _, err := alerting.Eval(context.Background(), 0, now, rules.EngineQueryFunc(engine, storage), &url.URL{}, 0); err != nil {
			t.Fatal(err)
		}
		fires := false
		for _, alert := range alerting.ActiveAlerts() {
			if alert.State != rules.StateFiring {
				continue
			}
			if fires = true; found == nil && minute <= last {
				first, found = minute, alert
			}
		}
		if found != nil && minute == first+1 && !fires {
			t.Errorf("does not fire any more at minute %d", minute)
		}
	}
	return first, found
}

// TestRunbooks holds that each alert has a severity, texts and a page of docs that is
// there, with the heading that it names, and that the page of alerts has it.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/operate/alerts.md")
	for _, rule := range load(t) {
		if s := rule.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", rule.Alert, s)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", rule.Alert)
		}
		target, ok := strings.CutPrefix(rule.Annotations["runbook_url"], runbooks)
		if !ok {
			t.Errorf("%s: runbook_url %q does not begin with %s", rule.Alert, rule.Annotations["runbook_url"], runbooks)
			continue
		}
		file, heading, _ := strings.Cut(target, "#")
		text := read(t, "docs/"+file)
		if heading != "" && !hasHeading(text, heading) {
			t.Errorf("%s: docs/%s has no heading #%s", rule.Alert, file, heading)
		}
		if !strings.Contains(text, "`"+rule.Alert+"`") {
			t.Errorf("%s: docs/%s does not name the alert: its reader has nothing else to search by", rule.Alert, file)
		}
		after := rule.For.String()
		if rule.For == 0 {
			after = "at once"
		}
		if row := regexp.MustCompile("(?m)^\\| `" + rule.Alert + "` \\|.*$").FindString(page); !strings.Contains(row, "| "+after+" |") {
			t.Errorf("docs/operate/alerts.md has no row of %s that fires after %s: %q", rule.Alert, after, row)
		}
	}
}

// TestMetricsExist holds that alerts use metrics of the reference, with their labels.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	for _, rule := range load(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
		if err != nil {
			t.Fatal(err)
		}
		exist(t, rule.Alert, expr)
	}
}

// exist reports each metric of an expression that the reference does not have, and
// each label that its metric does not have: neither by itself nor, in the pods of a
// ModProxy, by config/prometheus/pods.yaml.
func exist(t *testing.T, where string, expr parser.Expr) {
	t.Helper()
	known := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(gocache_[a-z_]+)` \\| [a-z]+ \\| (.*?) \\| (.*?) \\|").FindAllStringSubmatch(read(t, "docs/reference/metrics.md"), -1) {
		known[m[1]] = m[2]
		if !strings.Contains(m[3], "the manager") {
			known[m[1]] += "`namespace``pod``proxy``proxy_instance`"
		}
	}
	for _, selectors := range parser.ExtractSelectors(expr) {
		var name string
		for _, m := range selectors {
			if m.Name == model.MetricNameLabel {
				name = m.Value
			}
		}
		documented, ok := known[name]
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, has := strings.CutSuffix(name, suffix); has && !ok {
				documented, ok = known[base]
			}
		}
		if !ok && !strings.HasPrefix(name, "controller_runtime_") {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		for _, m := range selectors {
			if ok && m.Name != model.MetricNameLabel && !strings.Contains(documented, "`"+m.Name+"`") {
				t.Errorf("%s: %s has no label %s", where, name, m.Name)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func hasHeading(text, anchor string) bool {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		if strings.ReplaceAll(strings.ToLower(m[1]), " ", "-") == anchor {
			return true
		}
	}
	return false
}
