// Package conditions writes the conditions of a status in one pass: from facts,
// with one time and one generation, so that all conditions are about the same
// spec.
package conditions
