// Package schedule decides when something that is declared as a cron schedule
// is due.
//
// A schedule has a time zone, a jitter whose offset is fixed per object (so
// that a thousand objects with @daily spread evenly and each keeps its time),
// and a starting deadline. A start that was missed is caught up once, not once
// for each missed time.
//
// It also has the pauses after failures ([Backoff]), which all plans share.
package schedule
