// Package proxy is one GOPROXY instance: a directory in GOPROXY layout that is
// filled from an upstream proxy, made fit to stand behind a router.
//
//   - Each file is fetched when it is asked for, once however many clients ask,
//     and is what the upstream sent, byte by byte. Texts are complete and checked
//     before a client gets them. An archive flows to its clients while it
//     arrives; its last 256 KiB stay back until all of it was checked, and if
//     that fails the connection ends before the archive does.
//   - Private modules may come from version control: a server beside the instance
//     fetches them (see gocache.dev/operator/internal/agent/vcs), and no upstream and
//     no checksum database is asked for them. A version stays what it was first.
//   - What is fetched is stored only if it is consistent in itself and, unless
//     the module is private, is what the checksum database has.
//   - Store keeps each file together with its SHA-256, written durably and
//     before the file gets its name, and checks it on every read. A corrupt file
//     is moved aside and fetched again, instead of being served until every build
//     that needs it has failed.
//   - Lists, @latest and the answers to queries are asked for again each time, and
//     served from the store when the upstream fails or takes longer than half a
//     second. They never go back: a version that was listed once stays listed.
//   - The other instances of the proxy are asked for what they have stored, before
//     the upstream and when the upstream does not have a file or fails. What they
//     answer is checked like all else, and they ask no further.
//   - A store that cannot be written or read costs speed, not answers: the
//     instance passes through what its upstream gives.
//   - With a limit for its volume it removes the archives that were not served for
//     the longest time.
//   - What is fetched at once is bounded, in number and in bytes, and shared
//     among clients.
//   - With a policy it serves only the versions that the policy allows, stored or
//     not, and leaves the others out of lists (rules.go).
//   - Readiness depends on the store alone (the volume is mounted, is the same one,
//     has free space, can be read), and its endpoint always answers in bounded time.
//     Upstream trouble never makes an instance unready, because everything it
//     already holds can still be served.
//   - 404 is a statement about a module and is made only when an upstream made
//     it, and so are 410, 403 and 451. An upstream that fails or hangs is 502 or
//     504: the go command takes a 404 as a reason to look for the package in
//     another module.
//   - Errors are text/plain, short, and carry the request's id, because that
//     is what the go command shows to the person in front of it.
//   - One request id goes from the client's side through the log to the
//     upstream.
//
// The pages of a checksum database are served by the goproxy/goproxy library.
//
// Start at Server; handler.go shows the path of a request, fetch.go that of a
// file, and peers.go the requests to other instances.
package proxy
