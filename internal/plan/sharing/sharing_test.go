package sharing

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// TestDecide asserts who may use a source: only a namespace whose labels the source
// selects, and never through a GoCache that has a source itself.
func TestDecide(t *testing.T) {
	selector := func(labels map[string]string, expressions ...v1alpha1.SelectorRequirement) *v1alpha1.CacheConsumers {
		return &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: labels, MatchExpressions: expressions}}
	}
	teamA := map[string]string{"team": "a", "kubernetes.io/metadata.name": "builds"}
	for name, tt := range map[string]struct {
		change  func(*Observation)
		want    Standing
		message string
	}{
		"selected by a label": {func(*Observation) {}, Granted, ""},
		"selected by its name": {func(o *Observation) {
			o.Cache.Spec.Consumers = selector(nil, v1alpha1.SelectorRequirement{Key: "kubernetes.io/metadata.name", Operator: "In", Values: []string{"other", "builds"}})
		}, Granted, ""},
		"all are selected":     {func(o *Observation) { o.Cache.Spec.Consumers = selector(nil) }, Granted, ""},
		"all, and it has none": {func(o *Observation) { o.Cache.Spec.Consumers, o.Labels = selector(nil), map[string]string{} }, Granted, ""},
		"no consumers":         {func(o *Observation) { o.Cache.Spec.Consumers = nil }, NotShared, "spec.consumers.namespaceSelector must match the labels of this namespace"},
		"another label":        {func(o *Observation) { o.Labels = map[string]string{"team": "b"} }, NotShared, "namespace builds"},
		"excluded": {func(o *Observation) {
			o.Cache.Spec.Consumers = selector(nil, v1alpha1.SelectorRequirement{Key: "team", Operator: "NotIn", Values: []string{"a"}})
		}, NotShared, ""},
		"no such namespace":  {func(o *Observation) { o.Labels, o.Cache.Spec.Consumers = nil, selector(nil) }, NotShared, ""},
		"no such source":     {func(o *Observation) { o.Cache = nil }, NotShared, "ci/ci does not exist or is not shared"},
		"a source that goes": {func(o *Observation) { o.Cache.DeletionTimestamp = &metav1.Time{} }, Granted, ""}, // a zero time is none
		"a source being deleted": {func(o *Observation) {
			now := metav1.Now()
			o.Cache.DeletionTimestamp = &now
		}, NotShared, ""},
		"an unknown operator": {func(o *Observation) {
			o.Cache.Spec.Consumers = selector(nil, v1alpha1.SelectorRequirement{Key: "team", Operator: "Like", Values: []string{"a"}})
		}, NotShared, ""},
		"a chain": {func(o *Observation) {
			o.Cache.Spec.Source = &v1alpha1.CacheSource{Namespace: "origin", Name: "ci"}
		}, Chained, "is shared from origin/ci itself"},
		"itself":                       {func(o *Observation) { o.Cache.Spec.Source = &o.Source }, Chained, "name the GoCache that holds the content"},
		"a chain that is not selected": {func(o *Observation) { o.Cache.Spec.Source, o.Cache.Spec.Consumers = &o.Source, nil }, NotShared, ""},
		"what the operator may not read": {func(o *Observation) { o.Cache, o.Refused = nil, `namespaces "builds" is forbidden` },
			Unavailable, "forbidden"},
	} {
		o := Observation{Namespace: "builds", Labels: teamA, Source: v1alpha1.CacheSource{Namespace: "ci", Name: "ci"}, Cache: &v1alpha1.GoCache{}}
		o.Cache.Spec.Consumers = selector(map[string]string{"team": "a"})
		tt.change(&o)
		got := Decide(o)
		if got.Standing != tt.want || !strings.Contains(got.Message, tt.message) || got.Granted() != (got.Message == "") {
			t.Errorf("%s: %+v, want %q with %q", name, got, tt.want, tt.message)
		}
	}
}

// TestAbsentAndRefusedAreAlike asserts that a user cannot find out by a GoCache of
// theirs which GoCaches other namespaces hold.
func TestAbsentAndRefusedAreAlike(t *testing.T) {
	o := Observation{Namespace: "builds", Labels: map[string]string{}, Source: v1alpha1.CacheSource{Namespace: "ci", Name: "ci"}}
	absent := Decide(o)
	o.Cache = &v1alpha1.GoCache{}
	if refused := Decide(o); refused != absent {
		t.Errorf("a source that does not exist gives %+v, one that is not shared %+v", absent, refused)
	}
}
