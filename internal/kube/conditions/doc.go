// Package conditions writes the conditions of a status in one pass: from facts,
// with one time and one generation, so that a condition never speaks of
// another spec than its neighbours.
package conditions
