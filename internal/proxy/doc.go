// Package proxy is one GOPROXY instance: the goproxy/goproxy library over a
// directory in GOPROXY layout, made fit to stand behind a router.
//
// The library implements the protocol. This package adds what a proxy needs so
// that its failures do not affect builds:
//
//   - Store keeps each file together with its SHA-256, written durably and
//     before the file gets its name, and checks it on every read. A corrupt file is moved aside and fetched again, instead of being served until every build that needs it has failed.
//   - A store that cannot be written or read costs speed, not answers: the
//     instance passes through what its upstream gives.
//   - Readiness depends on the store alone (the volume is mounted, is the same one, has free space, can be read), and its endpoint always answers in bounded time.
//     Upstream trouble never makes an instance unready, because everything it
//     already holds can still be served.
//   - 404 is a statement about a module and is made only when an upstream made
//     it. An upstream that fails or hangs is 502 or 504: the go command takes
//     a 404 as a reason to look for the package in another module.
//   - Errors are text/plain, short, and carry the request's id, because that
//     is what the go command shows to the person in front of it.
//   - One request id goes from the client's side through the log to the
//     upstream.
//
// Start at Server; handler.go shows the path of a request.
package proxy
