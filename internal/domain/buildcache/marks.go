package buildcache

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TrimMark is the file with the time when the go command last trimmed the cache.
const TrimMark = "trim.txt"

// TestExpireMark is the file with the time before which test results are stale.
const TestExpireMark = "testexpire.txt"

// FuzzDir holds the corpora of fuzz tests.
const FuzzDir = "fuzz"

// ParseTrim reads trim.txt. The go command takes a malformed one for "never"
// and trims at its next run.
func ParseTrim(data []byte) (time.Time, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", TrimMark, err)
	}
	return time.Unix(n, 0), nil
}

// FormatTrim writes trim.txt.
func FormatTrim(t time.Time) []byte { return strconv.AppendInt(nil, t.Unix(), 10) }

// keep is how far into the future the marks of a kept entry lie.
const keep = 10 * 365 * 24 * time.Hour

// Kept moves a time of last use so far into the future that no go command ever
// trims the entry, however old the snapshot that it is restored from.
//
// The go command trims by modification times alone; so an entry with a time
// ahead of the clock stays, and is not marked as used either. [LastUsed] undoes
// the move.
func Kept(used time.Time) time.Time { return used.Add(keep) }

// IsKept reports whether a modification time was moved. The go command did not write
// it, and has marked no use of the entry since.
func IsKept(mtime, now time.Time) bool { return mtime.After(now.Add(keep / 2)) }

// LastUsed is when an entry with this modification time was last used, or for one that
// was moved, when it was used before that. now distinguishes the two.
func LastUsed(mtime, now time.Time) time.Time {
	if IsKept(mtime, now) {
		return mtime.Add(-keep)
	}
	return mtime
}
