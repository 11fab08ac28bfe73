// Package temporary creates the objects that a command needs while it runs, waits
// for them, and removes them.
//
// One Job owns all of them: when the command was killed, the Job ends at its
// deadline, is removed some time later, and everything that it owns with it.
package temporary
