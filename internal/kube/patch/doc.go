// Package patch writes a status once per pass, only when it differs, and only
// on top of what was read.
package patch
