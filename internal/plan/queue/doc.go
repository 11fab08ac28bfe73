// Package queue bounds how many of one kind of work are under way at once,
// oldest first.
//
// What is under way is told by whoever asks, from what exists, so that a
// restart forgets nothing. What is kept here is only what nobody else can know
// yet: who was let in a moment ago and does not show it, and who waits.
package queue
