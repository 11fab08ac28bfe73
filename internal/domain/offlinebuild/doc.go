// Package offlinebuild is the report of an offline build test: what the agent
// that built a program from a cache alone reports to the operator, as JSON in
// its termination message. The agent writes it with [Report.Fit], and the
// operator reads it with [Parse].
package offlinebuild
