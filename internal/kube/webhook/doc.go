// Package webhook notifies the addresses that users configured, with a POST of
// JSON, without blocking: calls are made in the background, a few at a time,
// each with its own timeout, and their ends wake the objects that made them.
//
// The caller records in a status what was sent. A process that dies between a
// call and that write calls again; the receiver recognizes it by the
// Idempotency-Key. Answers are read for their status alone, and redirects are
// not followed: the data is posted only to the configured address, and nothing
// of the answer is passed on.
package webhook
