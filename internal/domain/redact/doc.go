// Package redact makes texts of addresses that anyone may read. Errors, events, conditions
// and logs name the servers of requests, and a token for a server is often a part of its
// address: in the place of the user, where [net/url.URL.Redacted] would leave it, or in the
// query. The path is kept, since it names what was requested.
package redact
