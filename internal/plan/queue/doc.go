// Package queue bounds how many of one kind of work are under way at once,
// oldest first.
//
// The caller reports the work that is under way, from what exists, so a restart
// loses nothing. Only two things are kept here: the tickets that were admitted
// a moment ago and are not visible as work yet, and those that wait.
package queue
