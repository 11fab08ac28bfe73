// Package drill is the report of an offline build: what the agent that built a
// program from a cache alone tells the operator, as JSON in its termination
// message. The agent writes it with [Report.Fit], and the operator reads it
// with [Parse].
package drill
