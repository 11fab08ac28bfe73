// Package exitcode defines the agent's exit codes. Scripts and Jobs rely
// on them.
package exitcode

import (
	"errors"

	"gocache.dev/operator/internal/domain/integrity"
)

// The exit codes. Any code that is not listed proves nothing.
const (
	OK           = 0 // done; for checks: Intact
	Failed       = 1 // could not be done
	Usage        = 2 // wrong flags
	Corrupt      = 3 // the verdict is Corrupt
	Inconclusive = 4 // there is no result
)

// Error carries an exit code.
type Error struct {
	Code int
	Err  error
}

// Error is the message.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of is the exit code of an error: the one it carries, else Failed.
func Of(err error) int {
	var coded *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &coded):
		return coded.Code
	}
	return Failed
}

// OfVerdict is the exit code of a check.
func OfVerdict(o integrity.Outcome) int {
	switch o {
	case integrity.Intact:
		return OK
	case integrity.OutcomeCorrupt:
		return Corrupt
	case integrity.Inconclusive:
	}
	return Inconclusive
}
