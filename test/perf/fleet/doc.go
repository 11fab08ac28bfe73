// Package fleet measures what a manager costs that looks after a thousand caches
// with five snapshots each, all of them at rest: its memory, and how many passes
// that find nothing to do it makes per second of processor time. The API server
// is real, the manager is the program as it is delivered; volumes, Jobs and CSI
// snapshots are played.
package fleet
