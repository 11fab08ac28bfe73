//go:build race

package fetch_test

// raced: the race detector gets its memory by itself, and ends the process in a way of its
// own when there is none.
const raced = true
