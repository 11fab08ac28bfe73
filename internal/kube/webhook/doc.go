// Package webhook tells addresses that people named something, as a POST of
// JSON, without making anybody wait: calls are made in the background, a few at
// a time, each within its own bound of time, and their ends wake whoever began
// them.
//
// What was told is remembered by the caller, in a status. A process that dies
// between a call and that write calls again; the receiver knows it by the
// Idempotency-Key. Answers are read for their status alone, and redirects are not
// followed: what is posted goes where it was declared to go, and nothing of what
// lies there comes back.
package webhook
