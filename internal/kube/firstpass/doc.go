// Package firstpass spares the API server reads when a controller starts.
//
// A pass reads its object from the API server: made on a status that this process has
// replaced since, it could act twice. A process that has just started has replaced
// nothing, and finds nothing to do for almost all objects. The first pass over an object
// is therefore made on what the cache holds, with a client that refuses to write
// ([Client]). If it would write, it is made again, on the object as the API server has it.
//
// What a cache that is behind hides is late, and never lost: another pass follows when
// the cache changes.
package firstpass
