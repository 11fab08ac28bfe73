// Package prog is a GOCACHEPROG child: a build cache in two layers. The lower
// layer is a build cache that many builds share and none writes to, such as a
// verified snapshot mounted read-only; the upper layer is private: an empty
// directory, or what one branch has built before, within a size.
//
// The go command itself never hashes most outputs it reads. Here the content of
// every output from the lower layer is hashed before it is handed out, so a
// damaged entry is a miss, which costs a compilation, and never a miscompilation.
//
// The protocol is that of cmd/go/internal/cacheprog: a stream of JSON requests
// on standard input, each put followed by its body as a JSON string of base64,
// and responses in any order on standard output.
package prog
