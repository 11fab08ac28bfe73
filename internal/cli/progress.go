package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// frame is the time between two pictures of a progress bar.
const frame = 100 * time.Millisecond

// activity shows what a command does to a person who waits for it: a terminal gets a
// bar with the time since the command began, everything else a line for each step. It
// writes to standard error; standard output has the result alone.
type activity struct {
	out     io.Writer
	bar     progress.Writer // nil: lines
	tracker *progress.Tracker
	began   bool
	ended   chan struct{}
}

// activity begins to show a number of steps; 0: it is not known how many. Without
// bar, there are lines on a terminal too: the result is written meanwhile.
func (a *app) activity(steps int, bar bool) *activity {
	w := &activity{out: a.ErrOut}
	if !a.interactive || !bar {
		return w
	}
	w.bar, w.ended = progress.NewWriter(), make(chan struct{})
	w.bar.SetOutputWriter(a.ErrOut)
	w.bar.SetUpdateFrequency(frame)
	w.bar.SetTrackerPosition(progress.PositionRight)
	style := progress.StyleBlocks
	style.Options.TimeDonePrecision, style.Options.TimeInProgressPrecision = time.Second, time.Second
	style.Visibility = progress.StyleVisibility{Time: true, Tracker: true, Value: steps > 0}
	w.bar.SetStyle(style)
	// It disappears at the end: what remains is the result.
	w.tracker = &progress.Tracker{Total: int64(steps), RemoveOnCompletion: true, AutoStopDisabled: true}
	w.bar.AppendTracker(w.tracker)
	go func() {
		w.bar.Render()
		close(w.ended)
	}()
	return w
}

// begin shows the step that begins.
func (w *activity) begin(text string) {
	if w.bar == nil {
		_, _ = fmt.Fprintln(w.out, text)
		return
	}
	if w.began {
		w.tracker.Increment(1)
	}
	w.began = true
	w.tracker.UpdateMessage(text)
}

// end removes the bar. It may be called again.
func (w *activity) end() {
	if w.bar == nil {
		return
	}
	w.tracker.MarkAsDone()
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		w.bar.Stop() // has no effect before the first picture
		select {
		case <-w.ended:
			w.bar = nil
			return
		case <-ticker.C:
		}
	}
}
