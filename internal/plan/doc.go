// Package plan holds the packages that decide. Each takes an observation, which
// includes the time, and returns a decision: what to do, why, and when to
// decide again. Nothing here reads a clock, a cluster or an environment, so a
// year can be simulated in a second.
package plan
