// Package pushes receives the push webhooks of git servers.
//
// A push that is proven by the token of a Secret makes the look-ups of its
// repository's refs due, and nothing else: what the request contains is
// authenticated, and is not read. Which commit a ref names is always looked up.
//
// GitHub, Gitea, Forgejo, Gogs and Bitbucket sign the body with the token, GitLab
// sends the token itself, and others can sign as GitHub does, in the header
// X-Signature. docs/ci/git.md has what users enter for each.
//
// The passes of a GoCache register a [Hook] for each repository that has one, so
// that a request costs no access to the API server: its path is found in memory,
// or the answer is 404. Paths cannot be guessed, and are not derived from the
// token: they are published in a status that more users read than the Secret.
//
// Requests are bounded: the digest of a body is computed while it arrives, so
// that none is held in memory; a namespace has a rate and a number of requests
// at once of its own, which requests to its own paths alone use up.
package pushes
