// Package cleanup is the report of a cleanup: what the agent that planned it,
// or applied a plan, reports to the operator, as JSON in its termination
// message. The agent writes it with [Report.Fit], and the operator reads it
// with [Parse].
package cleanup
