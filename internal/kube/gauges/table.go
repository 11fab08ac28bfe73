package gauges

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"k8s.io/utils/ptr"
)

// table holds the series of a scrape, each as numbers: a manager of a large cluster has
// a million, and most of the values of their labels are the same.
type table struct {
	selected func(name string) bool
	texts    []string
	numbers  map[string]uint32 // of the texts
	families map[*Metric]*family
}

// family is the series of one metric: a value, and for each label the number of its text.
type family struct {
	values []float64
	labels []uint32
}

func newTable(selected func(name string) bool) *table {
	return &table{selected: selected, numbers: map[string]uint32{}, families: map[*Metric]*family{}}
}

// add implements [Emit].
func (t *table) add(metric *Metric, value float64, labels ...string) {
	if len(labels) != len(metric.Labels) {
		panic(fmt.Sprintf("%s has %d labels, not %d", metric.Name, len(metric.Labels), len(labels)))
	}
	of := t.families[metric]
	if of == nil {
		if !t.selected(metric.Name) {
			return
		}
		of = &family{}
		t.families[metric] = of
	}
	of.values = append(of.values, value)
	for _, text := range labels {
		number, ok := t.numbers[text]
		if !ok {
			number = uint32(len(t.texts)) //nolint:gosec // there is no memory for as many
			t.numbers[text] = number
			t.texts = append(t.texts, presentable(text))
		}
		of.labels = append(of.labels, number)
	}
}

// maxText is how long the value of a label is at most. Names of objects have 253 bytes; what
// names another object is not checked by the API server.
const maxText = 1024

// presentable is a text as a scraper accepts it: with one that is not UTF-8, it refuses all.
func presentable(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "\uFFFD")
}

// encode writes all series, metric by metric.
func (t *table) encode(w io.Writer) error {
	byName := func(a, b *Metric) int { return cmp.Compare(a.Name, b.Name) }
	for _, metric := range slices.SortedFunc(maps.Keys(t.families), byName) {
		if err := t.encodeFamily(w, metric); err != nil {
			return err
		}
	}
	return nil
}

// chunk is how many series are encoded at once.
const chunk = 1000

func (t *table) encodeFamily(w io.Writer, metric *Metric) error {
	of := t.families[metric]
	places := metric.places()
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	message := &dto.MetricFamily{Name: &metric.Name, Help: &metric.Help, Type: dto.MetricType_GAUGE.Enum()}
	series := newSeries(metric, places, min(chunk, len(of.values)))
	for first := 0; first < len(of.values); first += chunk {
		message.Metric = series[:min(chunk, len(of.values)-first)]
		for i, one := range message.Metric {
			*one.Gauge.Value = of.values[first+i]
			labels := of.labels[(first+i)*len(metric.Labels):]
			for j, place := range places {
				*one.Label[place].Value = t.texts[labels[j]]
			}
		}
		text.Reset()
		if err := encoder.Encode(message); err != nil {
			return fmt.Errorf("encode %s: %w", metric.Name, err)
		}
		if _, err := w.Write(headless(text.Bytes(), first > 0)); err != nil {
			return fmt.Errorf("send %s: %w", metric.Name, err)
		}
	}
	return nil
}

// newSeries makes so many series, which are filled again and again.
func newSeries(metric *Metric, places []int, n int) []*dto.Metric {
	all := make([]*dto.Metric, n)
	for i := range all {
		all[i] = &dto.Metric{Gauge: &dto.Gauge{Value: new(float64)}, Label: make([]*dto.LabelPair, len(metric.Labels))}
		for j, place := range places {
			all[i].Label[place] = &dto.LabelPair{Name: ptr.To(metric.Labels[j]), Value: new(string)}
		}
	}
	return all
}

// places are where each label stands when they are sorted by name, as in all expositions.
func (m *Metric) places() []int {
	sorted := slices.Sorted(slices.Values(m.Labels))
	all := make([]int, len(m.Labels))
	for i, name := range m.Labels {
		all[i] = slices.Index(sorted, name)
	}
	return all
}

// headless returns the text of series without the comments before them, if they were
// written before.
func headless(text []byte, written bool) []byte {
	for written && bytes.HasPrefix(text, []byte("#")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}
