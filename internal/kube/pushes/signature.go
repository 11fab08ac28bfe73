package pushes

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
)

// tokenHeader has the token itself: GitLab.
const tokenHeader = "X-Gitlab-Token" //nolint:gosec // the name of a header

// signatureHeaders have the HMAC-SHA256 of the body with the token as its key, in
// hexadecimal digits, with or without "sha256=" before it. One of another length proves
// nothing: another algorithm needs a sum of its own in digest, and a field beside
// signatures. Servers are listed in docs/ci/git.md and the package comment.
var signatureHeaders = []string{
	"X-Hub-Signature-256", // GitHub, Gitea, Forgejo
	"X-Hub-Signature",     // Bitbucket; that of others is a SHA-1
	"X-Gitea-Signature",
	"X-Forgejo-Signature",
	"X-Gogs-Signature",
	"X-Signature", // by hand, and what has no header of its own
}

// claims are the proofs that a request brings along.
type claims struct {
	token      string
	signatures [][]byte
}

// claimsOf reads the headers of a request.
func claimsOf(header http.Header) claims {
	c := claims{token: header.Get(tokenHeader)}
	for _, name := range signatureHeaders {
		text := header.Get(name)
		if prefixed, ok := strings.CutPrefix(text, "sha256="); ok {
			text = prefixed
		}
		if sum, err := hex.DecodeString(text); err == nil && len(sum) == sha256.Size {
			c.signatures = append(c.signatures, sum)
		}
	}
	return c
}

// hasToken reports whether the request has the token itself. It takes as long
// for any token.
func (c claims) hasToken(token []byte) bool {
	got, want := sha256.Sum256([]byte(c.token)), sha256.Sum256(token)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && len(token) > 0
}

// signedBy reports whether a signature of the request is the digest of its body.
func (c claims) signedBy(digest hash.Hash) bool {
	sum := digest.Sum(nil)
	signed := false
	for _, signature := range c.signatures {
		if hmac.Equal(signature, sum) {
			signed = true
		}
	}
	return signed
}
