package request

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// Kind is what a kind of object does with requests. Each request goes one way:
//
//	annotation ─▶ Refused
//	           ─▶ Accepted ─▶ Succeeded, Failed
//	                       ─▶ Failed, when it was not begun or answered in time
//	                       ─▶ Refused, when another release accepted it
//
// Its text is echoed in the status, so that each text is handled once.
type Kind struct {
	// Name of the kind, for a person.
	Name string
	// Supports maps the supported actions to the forms in which they may be
	// written.
	Supports []Form
	// Supersedes: a new request takes the place of one that was accepted and not
	// answered yet. Otherwise it waits for that answer.
	Supersedes bool
}

// Form is an action with the ways to write it.
type Form struct {
	// Action of the request.
	Action string
	// Written are its forms; nil: the action alone.
	Written []string
}

// Answer is the state of a request for the status.
type Answer struct {
	// Text of the request.
	Text string
	// Outcome of it so far, and a message for the user.
	Outcome v1alpha1.RequestOutcome
	Message string
}

// Take returns the state of the request in the annotation; nil: nothing now,
// since there is none, it was handled before, or another request gets its
// answer first. The text is the annotation as the status echoes it. Refuses is
// why a supported request is not accepted; empty: it is.
func (k Kind) Take(text string, present bool, last *v1alpha1.RequestStatus, refuses func(Request) string) *Answer {
	waiting := last != nil && last.Outcome == v1alpha1.RequestAccepted
	if !present || last != nil && last.Request == text || waiting && !k.Supersedes {
		return nil
	}
	refused := func(why string) *Answer {
		return &Answer{Text: text, Outcome: v1alpha1.RequestRefused, Message: why}
	}
	req, err := Parse(text)
	switch {
	case len(k.Supports) == 0:
		return refused("this release supports no request for a " + k.Name)
	case err != nil:
		return refused(err.Error())
	case !k.supports(req.Action):
		return refused(fmt.Sprintf("this release does not support the action %s for a %s: it supports %s", req.Action, k.Name, k.known()))
	}
	if why := refuses(req); why != "" {
		return refused(why)
	}
	return &Answer{Text: text, Outcome: v1alpha1.RequestAccepted}
}

// Timeout is how long a request may wait.
type Timeout struct {
	// Within is the time from its acceptance.
	Within time.Duration
	// Begun: what it asks for is being done, and that gives the answer.
	Begun bool
	// Answer: an answer is due within the time. Otherwise only the beginning is.
	Answer bool
	// WaitsFor is what it waited for; may be empty.
	WaitsFor string
}

// Overdue answers an accepted request that was not begun, or not answered, in
// time, so that it does not hold back later ones for ever; nil: not yet, and wake
// is when to ask again, if it is not zero.
func (k Kind) Overdue(last *v1alpha1.RequestStatus, now time.Time, timeout func(Request) Timeout) (answer *Answer, wake time.Time) {
	req, ok := accepted(last)
	if !ok {
		return nil, time.Time{}
	}
	out := &Answer{Text: last.Request, Outcome: v1alpha1.RequestFailed}
	if !k.supports(req.Action) {
		out.Outcome, out.Message = v1alpha1.RequestRefused, "this release does not support the request: it supports "+k.known()
		return out, time.Time{}
	}
	p := timeout(req)
	end := last.Time.Add(p.Within)
	switch {
	case p.Begun:
		return nil, time.Time{}
	case end.After(now):
		return nil, end
	case !p.Answer:
		out.Message = fmt.Sprintf("it could not be begun within %s%s; ask again when the cause is gone", p.Within, p.WaitsFor)
	case last.Message == "":
		out.Message = fmt.Sprintf("no result within %s%s", p.Within, p.WaitsFor)
	default:
		out.Message = fmt.Sprintf("%s; no more came of it within %s%s", last.Message, p.Within, p.WaitsFor)
	}
	return out, time.Time{}
}

// Accepted is the request that was accepted and waits for its answer.
func Accepted(last *v1alpha1.RequestStatus) (Request, bool) {
	req, ok := accepted(last)
	return req, ok && req.Action != ""
}

// Standing is the accepted request once it stands in the status that was read,
// before: acted on earlier, a crash in between would do it twice.
func Standing(before, last *v1alpha1.RequestStatus) (Request, bool) {
	req, ok := Accepted(last)
	return req, ok && before != nil && before.Request == last.Request
}

// accepted is the accepted request, without an action if it is not understood.
func accepted(last *v1alpha1.RequestStatus) (Request, bool) {
	if last == nil || last.Outcome != v1alpha1.RequestAccepted {
		return Request{}, false
	}
	req, _ := Parse(last.Request) // what is not understood has no action
	return req, true
}

func (k Kind) supports(action string) bool {
	return slices.ContainsFunc(k.Supports, func(f Form) bool { return f.Action == action })
}

// known lists the forms of all actions.
func (k Kind) known() string {
	var all []string
	for _, f := range k.Supports {
		if len(f.Written) == 0 {
			all = append(all, f.Action)
		}
		all = append(all, f.Written...)
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
