package goenv

import "strings"

// IsRelease says whether a release, such as go1.26.8, is what was asked for:
// 1.26.8 itself, any release of 1.26, or, with nothing, any. The word go before
// either is of no matter.
func IsRelease(is, want string) bool {
	is, want = strings.TrimPrefix(is, "go"), strings.TrimPrefix(want, "go")
	_, patch, _ := strings.Cut(want, ".")
	series := !strings.ContainsAny(patch, ".rb") // no patch, rc or beta
	return want == "" || is == want || series && strings.HasPrefix(is, want+".")
}
