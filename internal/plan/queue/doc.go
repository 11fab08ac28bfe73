// Package queue bounds how many of one kind of work are under way at once, with
// fair shares: one namespace never takes every place, the namespace that has the
// fewest goes first, and then the oldest ticket.
//
// The caller reports all work from what exists, so a restart loses nothing. Work
// that was admitted and does not run, or runs for long, takes no place of others: it
// counts only in its own share. Only two things are kept here: the tickets that were
// admitted a moment ago and are not visible as work yet, and those that wait.
package queue
