// Package buildreport decides what becomes of reports of builds: CacheRequests with
// the action ReportBuild, in which consumers of a cache report how much of a build
// came from it.
//
// The numbers are those of their reporters. They are shown, and decide nothing.
// They are summed from the requests themselves each time, so that none is counted
// twice, and they count for as long as their requests are kept. A report names one
// of the builds that the spec of the cache declares, or none: reporters choose no
// label of a metric.
package buildreport
