// Package monitoring makes the dashboard of config/prometheus from source, and has
// the tests of the alerts beside it: each rule is evaluated by Prometheus' own engine
// over series of its metrics, once where it must fire and once where it must not, and
// its runbook page must exist. The objects of config/prometheus are valid by the schemas
// of the Prometheus operator, made from its types as its CustomResourceDefinitions are.
//
// It is a module of its own, so that the operator does not depend on Prometheus and
// Grafana.
package monitoring
