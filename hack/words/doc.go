// Command words checks that the repository uses one word for one thing. It reads
// the pages, the comments, the strings and the names of this repository and
// reports each term that rules.yaml replaces by another.
//
// It checks six scopes:
//
//   - prose: README.md, CONTRIBUTING.md and docs/, without code blocks, inline
//     code, link targets and generated sections.
//   - field: doc comments in api/v1alpha1, which become the docs of fields.
//   - doc: package comments and doc comments of exported names elsewhere.
//   - comment: all other comments in Go files. The name that a doc comment
//     begins with is checked as a name only.
//   - message: string literals with a space in Go files that are no tests, and
//     the names, descriptions and messages in kubebuilder markers.
//   - name: declared identifiers in Go files, split into words, names of Go
//     files and their folders, and string literals of one word.
//
// A finding is one line:
//
//	FILE:LINE: SCOPE: "TERM": use REPLACEMENT (REASON)
//
// The exit code is 0 without findings, 1 with findings, and 2 on errors.
package main
