// Package operator has the Prometheus operator's own code make of config/prometheus the
// configuration that Prometheus has in the end-to-end tests.
//
// It is a module of its own, because the Prometheus operator needs another release of
// Prometheus' libraries than the tests of the alerts.
package operator
