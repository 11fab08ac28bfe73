// Package plan holds the packages that decide. Each takes plain facts, one of
// which is the time, and returns a decision that says what to do, why, and
// when to look again. Nothing here reads a clock, a cluster or an environment,
// so a year can be simulated in a second.
package plan
