package goenv

import "strings"

// IsRelease reports whether a release, such as go1.26.8, matches a request:
// 1.26.8 exactly, any release of 1.26, or any release if the request is empty.
// The prefix "go" of either is ignored.
func IsRelease(is, want string) bool {
	is, want = strings.TrimPrefix(is, "go"), strings.TrimPrefix(want, "go")
	_, patch, _ := strings.Cut(want, ".")
	series := !strings.ContainsAny(patch, ".rb") // no patch, rc or beta
	return want == "" || is == want || series && strings.HasPrefix(is, want+".")
}
