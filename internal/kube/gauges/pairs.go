package gauges

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// pairs are the labels of a scrape. The registry holds all its series until the last one
// is written, so each label with its value is held once, whatever number of them has it.
type pairs map[pair]*dto.LabelPair

type pair struct{ name, value string }

// share returns a metric with the labels that it shares with the others.
func (p pairs) share(m prometheus.Metric) prometheus.Metric {
	s := series{desc: m.Desc()}
	if err := m.Write(&s.metric); err != nil {
		return m
	}
	for i, label := range s.metric.Label {
		key := pair{label.GetName(), label.GetValue()}
		if _, ok := p[key]; !ok {
			p[key] = label
		}
		s.metric.Label[i] = p[key]
	}
	return &s
}

// series is a metric that was written before.
type series struct {
	desc   *prometheus.Desc
	metric dto.Metric
}

// Desc implements prometheus.Metric.
func (s *series) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *series) Write(to *dto.Metric) error {
	to.Label, to.Gauge = s.metric.Label, s.metric.Gauge
	return nil
}
