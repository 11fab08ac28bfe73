// Package gauges exports the state of objects as metrics.
//
// The values are computed at each scrape from the manager's cache, as
// kube-state-metrics does: a series exists exactly as long as its object does,
// none is stale after a restart, and no controller has to keep one up to date.
// Each controller describes the gauges of its own kind as a [Part]; an [Exporter]
// serves all of them, with the metrics of the process.
//
// Only the replica that leads exports them, so that a query counts no object
// twice. What happened, as opposed to what is, belongs into the counters and
// histograms of the controllers: they have no label with the name of an object.
package gauges
