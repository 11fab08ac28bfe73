package gauges

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"k8s.io/utils/ptr"
)

// table holds the series of a scrape, each as numbers: a manager of a large cluster has
// a million, and most of the values of their labels are the same.
type table struct {
	texts    []string
	numbers  map[string]uint32 // of the texts
	families map[*Metric]*family
}

// family is the series of one metric: a value, and for each label the number of its text.
type family struct {
	values []float64
	labels []uint32
}

func newTable() *table {
	return &table{numbers: map[string]uint32{}, families: map[*Metric]*family{}}
}

// add implements [Emit].
func (t *table) add(metric *Metric, value float64, labels ...string) {
	if len(labels) != len(metric.Labels) {
		panic(fmt.Sprintf("%s has %d labels, not %d", metric.Name, len(metric.Labels), len(labels)))
	}
	of := t.families[metric]
	if of == nil {
		of = &family{}
		t.families[metric] = of
	}
	of.values = append(of.values, value)
	for _, text := range labels {
		number, ok := t.numbers[text]
		if !ok {
			number = uint32(len(t.texts)) //nolint:gosec // there is no memory for as many
			t.numbers[text] = number
			t.texts = append(t.texts, text)
		}
		of.labels = append(of.labels, number)
	}
}

// chunk is how many series are encoded at once.
const chunk = 1000

// encode writes all series, metric by metric.
func (t *table) encode(w io.Writer, format expfmt.Format) error {
	size := chunk
	if format.FormatType() != expfmt.TypeTextPlain {
		size = 0 // all of a metric is one message
	}
	byName := func(a, b *Metric) int { return cmp.Compare(a.Name, b.Name) }
	for _, metric := range slices.SortedFunc(maps.Keys(t.families), byName) {
		if err := t.encodeFamily(w, format, metric, size); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) encodeFamily(w io.Writer, format expfmt.Format, metric *Metric, size int) error {
	of := t.families[metric]
	if size == 0 {
		size = len(of.values)
	}
	places := metric.places()
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	message := &dto.MetricFamily{Name: &metric.Name, Help: &metric.Help, Type: dto.MetricType_GAUGE.Enum()}
	series := newSeries(metric, min(size, len(of.values)))
	for first := 0; first < len(of.values); first += size {
		message.Metric = series[:min(size, len(of.values)-first)]
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
func newSeries(metric *Metric, n int) []*dto.Metric {
	all := make([]*dto.Metric, n)
	for i := range all {
		all[i] = &dto.Metric{Gauge: &dto.Gauge{Value: new(float64)}, Label: make([]*dto.LabelPair, len(metric.Labels))}
		for j, place := range metric.places() {
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
