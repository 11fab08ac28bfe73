package monitoring

import (
	"encoding/json"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// query is one expression of a panel, with the text of its legend.
type query struct{ expr, legend string }

// panel is one picture. All expressions of gauges select the namespaces that the
// dashboard has been set to.
type panel struct {
	title, unit string
	queries     []query
	// number: the present value alone, large.
	number bool
}

const (
	seconds  = units.Seconds
	bytes    = units.BytesIEC
	short    = units.Short
	perCent  = units.PercentUnit
	selected = `namespace=~"$namespace"`
)

// sinceFirst is the increase of counters that begin with their first event, which
// increase() misses.
func sinceFirst(counter, window string) string {
	return fmt.Sprintf("(increase(%[1]s[%[2]s]) > 0 or %[1]s unless %[1]s offset %[2]s)", counter, window)
}

// reportedShare is how much came from the cache in the builds that consumers have
// reported.
func reportedShare(selector string) string {
	const hits, misses = "gocache_cache_reported_hits", "gocache_cache_reported_misses"
	return fmt.Sprintf("%[1]s{%[3]s} / (%[1]s{%[3]s} + %[2]s{%[3]s})", hits, misses, selector)
}

// rows of the dashboard, from what is looked at first.
var rows = []struct {
	title  string
	panels []panel
}{
	{"Overview", []panel{
		{"Objects that are not Ready", short, []query{{`count(gocache_object_condition{` + selected + `,kind!="CacheSnapshot",type="Ready",status!="True"}) or vector(0)`, ""}}, true},
		{"Objects that need manual action", short, []query{{`count(gocache_object_condition{` + selected + `,type="Stalled",status="True"}) or vector(0)`, ""}}, true},
		{"PVCs that wait for a clone", short, []query{{`sum(gocache_consumer_pvcs_waiting{` + selected + `}) or vector(0)`, ""}}, true},
		{"Quarantined instances", short, []query{{`sum(gocache_modproxy_instances{` + selected + `,state="Quarantined"}) or vector(0)`, ""}}, true},
		{"Warnings per hour", short, []query{{`sum by (kind, reason) (` + sinceFirst("gocache_warnings_total", "1h") + `)`, "{{kind}} {{reason}}"}}, false},
		{"Errors of controllers", short, []query{{`sum by (controller) (rate(controller_runtime_reconcile_errors_total[5m]))`, "{{controller}}"}}, false},
	}},
	{"Caches", []panel{
		{"Age of the newest verified snapshot", seconds, []query{{`time() - gocache_cache_latest_verified_snapshot_timestamp_seconds{` + selected + `}`, "{{namespace}}/{{name}}"}}, false},
		{"Time since the last warm-up", seconds, []query{{`time() - gocache_cache_last_warm_up_timestamp_seconds{` + selected + `}`, "{{namespace}}/{{name}}"}}, false},
		{"Warm-ups: median and 90th percentile", seconds, []query{
			{`histogram_quantile(0.5, sum by (le) (increase(gocache_warm_up_duration_seconds_bucket[1d])))`, "median"},
			{`histogram_quantile(0.9, sum by (le) (increase(gocache_warm_up_duration_seconds_bucket[1d])))`, "90th percentile"},
		}, false},
		{"Warm-ups per day", short, []query{{`sum by (outcome) (increase(gocache_warm_up_duration_seconds_count[1d]))`, "{{outcome}}"}}, false},
		{"Used share of volumes", perCent, []query{{`gocache_cache_used_bytes{` + selected + `} / gocache_cache_capacity_bytes{` + selected + `}`, "{{namespace}}/{{name}}"}}, false},
		{"Entries", short, []query{{`gocache_cache_entries{` + selected + `}`, "{{namespace}}/{{name}} {{layer}}"}}, false},
	}},
	{"Snapshots", []panel{
		{"Snapshots by verdict", short, []query{{`sum by (verdict) (gocache_cache_snapshots{` + selected + `})`, "{{verdict}}"}}, false},
		{"Verifications per day", short, []query{{`sum by (source_kind, verdict) (increase(gocache_verifications_total[1d]))`, "{{source_kind}} {{verdict}}"}}, false},
		{"Verification: median and 90th percentile", seconds, []query{
			{`histogram_quantile(0.5, sum by (le) (increase(gocache_verification_duration_seconds_bucket[1d])))`, "median"},
			{`histogram_quantile(0.9, sum by (le) (increase(gocache_verification_duration_seconds_bucket[1d])))`, "90th percentile"},
		}, false},
		{"Bytes read by verifications", bytes, []query{{`sum by (source_kind) (rate(gocache_verification_read_bytes_total[5m]))`, "{{source_kind}} per second"}}, false},
	}},
	{"Consumers", []panel{
		{"PVCs that wait", short, []query{{`sum by (namespace, source, state) (gocache_consumer_pvcs_waiting{` + selected + `})`, "{{namespace}}/{{source}} {{state}}"}}, false},
		{"Clones per hour", short, []query{{`sum by (source_kind) (increase(gocache_clone_duration_seconds_count[1h]))`, "{{source_kind}}"}}, false},
		{"Time until a clone is handed over", seconds, []query{
			{`histogram_quantile(0.5, sum by (le) (increase(gocache_clone_duration_seconds_bucket[1h])))`, "median"},
			{`histogram_quantile(0.99, sum by (le) (increase(gocache_clone_duration_seconds_bucket[1h])))`, "99th percentile"},
		}, false},
		{"Reported builds: share from the cache", perCent, []query{{reportedShare(selected), "{{namespace}}/{{name}} {{build}}"}}, false},
		{"Reported builds: compiled packages or misses", short, []query{{`gocache_cache_reported_misses{` + selected + `}`, "{{namespace}}/{{name}} {{build}}"}}, false},
		{"Reported builds", short, []query{{`gocache_cache_reported_builds{` + selected + `}`, "{{namespace}}/{{name}} {{build}}"}}, false},
	}},
	{"Proxies", []panel{
		{"Instances by state", short, []query{{`sum by (namespace, name, state) (gocache_modproxy_instances{` + selected + `}) > 0`, "{{namespace}}/{{name}} {{state}}"}}, false},
		{"Weights in the router", short, []query{{`gocache_modproxy_instance_observed_weight{` + selected + `}`, "{{namespace}}/{{name}} {{instance}}"}}, false},
		{"Used share of stores", perCent, []query{{`gocache_modproxy_instance_disk_used_ratio{` + selected + `}`, "{{namespace}}/{{name}} {{instance}}"}}, false},
		{"Weight changes and quarantines per hour", short, []query{
			{`increase(gocache_modproxy_weight_changes_total[1h])`, "weight changes"},
			{`sum by (reason) (increase(gocache_modproxy_quarantines_total[1h]))`, "quarantines: {{reason}}"},
		}, false},
		{"Requests to instances", short, []query{{`sum by (namespace, proxy, code) (rate(gocache_proxy_requests_total{` + selected + `}[5m]))`, "{{namespace}}/{{proxy}} {{code}}"}}, false},
		{"Time until a request is answered", seconds, []query{
			{`histogram_quantile(0.5, sum by (le) (rate(gocache_proxy_request_duration_seconds_bucket{` + selected + `}[5m])))`, "median"},
			{`histogram_quantile(0.99, sum by (le) (rate(gocache_proxy_request_duration_seconds_bucket{` + selected + `}[5m])))`, "99th percentile"},
		}, false},
		{"Spoiled responses per hour", short, []query{{`sum by (namespace, proxy, instance, reason) (` + sinceFirst("gocache_router_spoiled_answers_total{"+selected+"}", "1h") + `)`, "{{namespace}}/{{proxy}} {{instance}} {{reason}}"}}, false},
	}},
}

// Dashboard returns the dashboard as Grafana imports it.
func Dashboard() ([]byte, error) {
	source := common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("$datasource")}
	b := dashboard.NewDashboardBuilder("Go caches and module proxies").Uid("gocache-operator"). //nolint:staticcheck // the newer form is not imported by older releases of Grafana
													Description("The objects of the operator for Go caches and Go module proxies.").
													Tags([]string{"gocache", "kubernetes"}).Timezone("browser").Time("now-24h", "now").Refresh("1m").Readonly().
													WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
													WithVariable(dashboard.NewQueryVariableBuilder("namespace").Label("Namespace").Datasource(source).
														Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(gocache_object_condition, namespace)")}).
														Multi(true).IncludeAll(true).AllValue(".*").Refresh(dashboard.VariableRefreshOnTimeRangeChanged))
	for _, row := range rows {
		b.WithRow(dashboard.NewRowBuilder(row.title))
		for _, p := range row.panels {
			if p.number {
				s := stat.NewPanelBuilder().Title(p.title).Unit(p.unit).Datasource(source).Span(6).Height(4)
				for i, q := range p.queries {
					s.WithTarget(q.target(i))
				}
				b.WithPanel(s)
				continue
			}
			s := timeseries.NewPanelBuilder().Title(p.title).Unit(p.unit).Datasource(source).Span(12).Height(8).Min(0)
			for i, q := range p.queries {
				s.WithTarget(q.target(i))
			}
			b.WithPanel(s)
		}
	}
	built, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("build the dashboard: %w", err)
	}
	data, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the dashboard: %w", err)
	}
	return append(data, '\n'), nil
}

func (q query) target(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Expr(q.expr).LegendFormat(q.legend)
}
