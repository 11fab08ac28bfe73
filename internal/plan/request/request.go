package request

import (
	"fmt"
	"regexp"
)

// Request is one request.
type Request struct {
	// Text is the whole annotation.
	Text string
	// Action that is asked for, and its argument.
	Action, Argument string
	// Token distinguishes requests for the same action.
	Token string
}

// Actions that a request may ask for.
const (
	WarmUp         = "warm-up"
	Integrity      = "integrity"
	Cleanup        = "cleanup"
	ApproveCleanup = "approve-cleanup"
	Snapshot       = "snapshot"
	Rollback       = "rollback"
	FailureReport  = "failure-report"
	Failover       = "failover"
	Failback       = "failback"
)

var form = regexp.MustCompile(`^([a-z][a-z-]{0,31})(?:=([A-Za-z0-9][A-Za-z0-9.:_-]{0,252}))?#([A-Za-z0-9][A-Za-z0-9.:_-]{0,63})$`)

// Parse understands a request. The error is meant for the person who wrote it.
func Parse(text string) (Request, error) {
	m := form.FindStringSubmatch(text)
	if m == nil {
		return Request{Text: text}, fmt.Errorf("%.100q is no request: want action#token or action=argument#token, such as warm-up#1", text)
	}
	return Request{Text: text, Action: m[1], Argument: m[2], Token: m[3]}, nil
}
