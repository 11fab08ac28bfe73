// Package request understands the annotation that carries one imperative
// request beside a declarative spec: action[=argument]#token.
//
// The token makes the text new, so that the same action can be asked for
// again; the whole text is what a status echoes once it was handled.
//
// [Parse] reads it, and [Kind] is the one state machine of all kinds: what
// becomes of a new annotation, and of a request that waits too long. What an
// action does, and whether it has succeeded, is decided by those who do it.
package request
