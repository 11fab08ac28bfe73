// Package hosts matches host names against a list of patterns, such as
// "git.example.com,*.corp.example": the hosts that credentials may be sent to.
package hosts
