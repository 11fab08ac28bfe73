// Command draw draws the dashboard of config/prometheus over the data of a Prometheus
// server, as an SVG picture for the documentation.
//
//	draw -prometheus http://localhost:9090 -namespace ci -last 15m FILE
//
// The layout, the titles, the queries and the units are those of dashboard.json. Grafana
// draws the same panels in its own style; a panel whose queries have no series is drawn
// with that remark.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/wcharczuk/go-chart/v2"
	"github.com/wcharczuk/go-chart/v2/drawing"

	"gocache.dev/operator/hack/monitoring"
)

const (
	// column and row are the units of Grafana's grid, in pixels; it has 24 columns.
	column, row = 48, 30
	margin      = 6
	// steps are the points of a curve.
	steps = 180
	// named are how many series have their name below a chart.
	named = 4
)

// panel is what a dashboard has of each panel.
type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr, LegendFormat string }
}

func main() {
	url := flag.String("prometheus", "http://localhost:9090", "address of Prometheus")
	namespace := flag.String("namespace", "", "namespace of the objects")
	last := flag.Duration("last", 15*time.Minute, "the time that is drawn")
	before := flag.Duration("before", 0, "how long ago the time ends that is drawn")
	flag.Parse()
	if err := run(*url, *namespace, *last, *before, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

func run(url, namespace string, last, before time.Duration, file string) error {
	if file == "" || namespace == "" {
		return errors.New("usage: draw -namespace NAMESPACE FILE")
	}
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		return err
	}
	source, err := monitoring.Dashboard()
	if err != nil {
		return err
	}
	var dashboard struct {
		Title  string
		Panels []panel
	}
	if err := json.Unmarshal(source, &dashboard); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	end := time.Now().Add(-before)
	p := painter{server: promv1.NewAPI(client), namespace: namespace, window: promv1.Range{Start: end.Add(-last), End: end, Step: last / steps}}
	height := 0
	for _, d := range dashboard.Panels {
		height = max(height, (d.GridPos.Y+d.GridPos.H)*row)
		if err := p.panel(ctx, d); err != nil {
			return fmt.Errorf("panel %q: %w", d.Title, err)
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif">`+"\n", 24*column, height, 24*column)
	fmt.Fprintf(&out, `<title>%s</title><rect width="100%%" height="100%%" fill="#f4f5f5"/>`+"\n%s</svg>\n", html.EscapeString(dashboard.Title), p.out.String())
	return os.WriteFile(file, out.Bytes(), 0o644) //nolint:gosec // a picture for everybody
}

// painter draws panels one after the other.
type painter struct {
	server    promv1.API
	namespace string
	window    promv1.Range
	out       bytes.Buffer
}

func (p *painter) text(x, y, size int, attributes, format string, args ...any) {
	fmt.Fprintf(&p.out, `<text x="%d" y="%d" font-size="%d" %s>%s</text>`+"\n", x, y, size, attributes, html.EscapeString(fmt.Sprintf(format, args...)))
}

func (p *painter) panel(ctx context.Context, d panel) error {
	x, y, w, h := d.GridPos.X*column+margin, d.GridPos.Y*row+margin, d.GridPos.W*column-2*margin, d.GridPos.H*row-2*margin
	if d.Type == "row" {
		p.text(x, y+16, 16, `font-weight="bold" fill="#24292e"`, "%s", d.Title)
		return nil
	}
	fmt.Fprintf(&p.out, `<rect x="%d" y="%d" width="%d" height="%d" fill="#fff" stroke="#d8d9da" rx="2"/>`+"\n", x, y, w, h)
	p.text(x+8, y+18, 13, `fill="#24292e"`, "%s", d.Title)
	curves, err := p.curves(ctx, d)
	switch {
	case err != nil:
		return err
	case len(curves) == 0:
		p.text(x+w/2, y+h/2, 13, `text-anchor="middle" fill="#8e8e8e"`, "no series")
		return nil
	case d.Type == "stat":
		values := curves[0].YValues
		p.text(x+w/2, y+h/2+20, 36, `text-anchor="middle" fill="#1a7f37"`, "%s", format(d.FieldConfig.Defaults.Unit)(values[len(values)-1]))
		return nil
	}
	names := slices.CompactFunc(slices.Clone(curves), func(a, b chart.TimeSeries) bool { return a.Name == b.Name })
	for i := range min(named, len(names)) {
		fmt.Fprintf(&p.out, `<rect x="%d" y="%d" width="12" height="3" fill="%s"/>`, x+8+i%2*(w/2), y+h-26+i/2*14, names[i].Style.StrokeColor.String())
		p.text(x+24+i%2*(w/2), y+h-20+i/2*14, 10, `fill="#464c54"`, "%s", names[i].Name)
	}
	if more := len(names) - named; more > 0 {
		p.text(x+w-8, y+18, 10, `text-anchor="end" fill="#8e8e8e"`, "and %d more", more)
	}
	var picture bytes.Buffer
	if err := p.diagram(curves, d.FieldConfig.Defaults.Unit, w-8, h-58).Render(chart.SVG, &picture); err != nil {
		return err
	}
	// The picture without its frame: one that is nested has no size of its own.
	_, inner, _ := strings.Cut(picture.String(), ">")
	fmt.Fprintf(&p.out, `<g transform="translate(%d %d)">%s</g>`+"\n", x+4, y+26, strings.TrimSuffix(strings.TrimSpace(inner), "</svg>"))
	return nil
}

// curves are the series of all queries of a panel.
func (p *painter) curves(ctx context.Context, d panel) ([]chart.TimeSeries, error) {
	var all []chart.TimeSeries
	for _, target := range d.Targets {
		value, _, _, err := p.server.QueryRange(ctx, strings.ReplaceAll(target.Expr, "$namespace", p.namespace), p.window)
		if err != nil {
			return nil, err
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return nil, fmt.Errorf("%s has the type %s", target.Expr, value.Type())
		}
		for _, stream := range matrix {
			all = append(all, p.pieces(legend(target.LegendFormat, stream.Metric), stream.Values)...)
		}
	}
	slices.SortStableFunc(all, func(a, b chart.TimeSeries) int { return strings.Compare(a.Name, b.Name) })
	for i, color := 0, 0; i < len(all); i++ {
		if i > 0 && all[i].Name != all[i-1].Name {
			color++
		}
		all[i].Style = chart.Style{StrokeColor: chart.GetAlternateColor(color), StrokeWidth: 1.5}
	}
	return all, nil
}

// pieces are the parts of a series between which it has no values.
func (p *painter) pieces(name string, values []model.SamplePair) []chart.TimeSeries {
	var all []chart.TimeSeries
	last := time.Time{}
	for _, v := range values {
		f, at := float64(v.Value), v.Timestamp.Time()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		if at.Sub(last) > 2*p.window.Step {
			all = append(all, chart.TimeSeries{Name: name})
		}
		piece := &all[len(all)-1]
		piece.XValues, piece.YValues, last = append(piece.XValues, at), append(piece.YValues, f), at
	}
	return slices.DeleteFunc(all, func(piece chart.TimeSeries) bool { return len(piece.XValues) < 2 })
}

var placeholder = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// legend fills in the labels of a series.
func legend(text string, labels model.Metric) string {
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		return string(labels[model.LabelName(placeholder.FindStringSubmatch(s)[1])])
	})
}

func (p *painter) diagram(curves []chart.TimeSeries, unit string, width, height int) chart.Chart {
	low, high := 0.0, 0.0
	for _, c := range curves {
		low, high = min(low, slices.Min(c.YValues)), max(high, slices.Max(c.YValues))
	}
	if high == low {
		high = low + 1
	}
	grey := drawing.ColorFromHex("8e8e8e")
	axis := chart.Style{FontColor: grey, StrokeColor: drawing.ColorFromHex("d8d9da"), FontSize: 8}
	write := format(unit)
	c := chart.Chart{
		Width: width, Height: height,
		Background: chart.Style{Padding: chart.Box{Top: 8, Left: 8, Right: 8, Bottom: 4}},
		XAxis: chart.XAxis{
			Style: axis, ValueFormatter: chart.TimeValueFormatterWithFormat("15:04:05"),
			Range: &chart.ContinuousRange{Min: chart.TimeToFloat64(p.window.Start), Max: chart.TimeToFloat64(p.window.End)},
		},
		YAxis: chart.YAxis{
			Style: axis, AxisType: chart.YAxisSecondary, Range: &chart.ContinuousRange{Min: low, Max: high * 1.05},
			ValueFormatter: func(v any) string { f, _ := v.(float64); return write(f) },
		},
		// No series is on it: its marks would be at positions without a limit.
		YAxisSecondary: chart.YAxis{Style: chart.Hidden()},
	}
	for _, curve := range curves {
		c.Series = append(c.Series, curve)
	}
	return c
}

// format writes a value in a unit of Grafana.
func format(unit string) func(float64) string {
	scaled := func(v float64, base float64, names ...string) string {
		i := 0
		for ; math.Abs(v) >= base && i < len(names)-1; i++ {
			v /= base
		}
		return fmt.Sprintf("%.3g %s", v, names[i])
	}
	switch unit {
	case "s":
		return func(v float64) string {
			return time.Duration(v * float64(time.Second)).Round(10 * time.Millisecond).String()
		}
	case "bytes":
		return func(v float64) string { return scaled(v, 1024, "B", "KiB", "MiB", "GiB", "TiB") }
	case "percentunit":
		return func(v float64) string { return fmt.Sprintf("%.3g%%", v*100) }
	}
	return func(v float64) string { return fmt.Sprintf("%.4g", v) }
}
