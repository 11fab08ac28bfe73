//go:build unix && !linux

package vcs

// limit does nothing: other systems have no call for another process. Instances run on
// Linux, in containers.
func limit(int, int64) error { return nil }
