// Package warmup is the report of a warm-up: what the agent that filled a cache
// reports to the operator, as JSON in its termination message. The agent writes
// it with [Report.Fit], and the operator reads it with [Parse].
package warmup
