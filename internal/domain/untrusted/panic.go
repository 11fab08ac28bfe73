package untrusted

import (
	"fmt"
	"runtime/debug"
)

// Panic is what ended the reading of content that others send.
type Panic struct {
	// Cause is what panicked, for a log: it may repeat what was sent.
	Cause error
	// Stack is where.
	Stack string
}

// Error is for users, and has nothing of what was sent.
func (*Panic) Error() string {
	return "the operator cannot read what was sent; see its log, and report it as a defect"
}

// Read runs what reads content that others send, and returns the [Panic] that ended
// it; nil: none did. A panic in a goroutine of the operator's own ends the process,
// for the objects of all namespaces.
func Read(read func()) (panicked *Panic) {
	defer func() {
		if cause := recover(); cause != nil {
			panicked = &Panic{Cause: fmt.Errorf("panic: %v", cause), Stack: string(debug.Stack())}
		}
	}()
	read()
	return nil
}
