// Package request decides what becomes of CacheRequests: one imperative action
// each, beside a declarative spec.
//
// An object works on one request at a time, which its status.request names: it
// is written together with all that the request changes in that status, so that
// a request is acted on exactly once, however often the operator is restarted.
// The controller of CacheRequests copies the outcome into the request itself,
// and only then does the object take the next one:
//
//	waits ─▶ Refused
//	      ─▶ Accepted ─▶ Succeeded, Failed
//	                  ─▶ Failed, when it was not begun or answered in time
//
// [Kind] is the state machine of the objects, [Follow] that of the requests.
// What an action does, and whether it has succeeded, is decided by those who do
// it.
package request
