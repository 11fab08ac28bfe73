package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Reasons of the metric for spoiled answers.
const (
	reasonMismatch = "mismatch"
	reasonSilence  = "silence"
	reasonBroken   = "broken"
)

// chunk is how much is read at once, in bytes.
const chunk = 32 << 10

var errSilence = errors.New("the answer stopped in the middle")

// body is that of an answer on its way to a client: it holds back the end of
// what has arrived until all of it has and was found to be good.
type body struct {
	source io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request that it answers
	cancel context.CancelCauseFunc
	timer  *time.Timer
	length int64 // as announced; negative: unknown
	// timeout is how long the source may be silent; 0: no limit.
	timeout time.Duration
	held    struct {
		bytes.Buffer
		limit int // more is passed on
	}
	ended bool
	copy  io.WriteCloser  // gets all that arrives
	end   func() error    // reports whether the end may be passed on
	fail  func(err error) // gets the cause when the source ends early
}

func newBody(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) *body {
	b := &body{source: resp.Body, ctx: ctx, cancel: cancel, length: resp.ContentLength}
	b.timer = time.AfterFunc(time.Hour, func() { cancel(errSilence) })
	b.timer.Stop()
	return b
}

// fill reads until more has arrived than is held, or all.
func (b *body) fill() error {
	for !b.ended && b.held.Len() <= b.held.limit {
		if err := b.pull(); err != nil {
			return err
		}
	}
	return nil
}

// pull reads once.
func (b *body) pull() error {
	want := chunk
	if b.length >= 0 && b.length < chunk {
		want = int(b.length) + 1 // most answers are small
	}
	b.held.Grow(want)
	if b.timeout > 0 {
		b.timer.Reset(b.timeout)
	}
	n, err := b.source.Read(b.held.AvailableBuffer()[:want])
	b.timer.Stop()
	read := b.held.AvailableBuffer()[:n]
	b.held.Write(read)
	if b.copy != nil {
		_, _ = b.copy.Write(read) // it never fails
	}
	if errors.Is(err, io.EOF) {
		b.ended = true
		return nil
	}
	if err != nil {
		return because(b.ctx, err)
	}
	return nil
}

// Read implements io.Reader. The last result is an error if the end is not to
// be passed on: the client sees a connection that is closed early.
func (b *body) Read(p []byte) (int, error) {
	if !b.ended {
		err := b.fill()
		if err != nil && b.fail != nil {
			b.fail(err)
		}
		if err == nil && b.ended && b.end != nil {
			err = b.end()
		}
		if err != nil {
			return 0, err
		}
	}
	if b.ended {
		return b.held.Read(p)
	}
	return b.held.Read(p[:min(len(p), b.held.Len()-b.held.limit)])
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	if b.copy != nil {
		_ = b.copy.Close()
	}
	return b.source.Close()
}

// reason is why the body ended early, in one word.
func (b *body) reason() string {
	if errors.Is(context.Cause(b.ctx), errSilence) {
		return reasonSilence
	}
	return reasonBroken
}
