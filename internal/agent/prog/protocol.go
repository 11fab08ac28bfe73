package prog

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// request is what the go command asks.
type request struct {
	ID       int64
	Command  string
	ActionID []byte `json:",omitempty"`
	OutputID []byte `json:",omitempty"`
	BodySize int64  `json:",omitempty"`
}

// response answers a request.
type response struct {
	ID            int64
	Err           string     `json:",omitempty"`
	KnownCommands []string   `json:",omitempty"`
	Miss          bool       `json:",omitempty"`
	OutputID      []byte     `json:",omitempty"`
	Size          int64      `json:",omitempty"`
	Time          *time.Time `json:",omitempty"`
	DiskPath      string     `json:",omitempty"`
}

const (
	cmdGet   = "get"
	cmdPut   = "put"
	cmdClose = "close"
	// maxRequest bounds a request's line: two hashes and a few numbers.
	maxRequest = 64 << 10
)

// requests reads the stream of requests.
type requests struct{ in *bufio.Reader }

// next is the next request, or io.EOF.
func (r *requests) next() (request, error) {
	for {
		line, err := r.in.ReadSlice('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var req request
			if err := json.Unmarshal(line, &req); err != nil {
				return request{}, fmt.Errorf("reading a request: %w", err)
			}
			return req, nil
		}
		if err != nil {
			return request{}, err
		}
	}
}

// body streams the body that follows a put, to its very end.
func (r *requests) body(size int64, to io.Writer) error {
	if size == 0 {
		return nil
	}
	if err := r.skipTo('"'); err != nil {
		return err
	}
	text := &untilQuote{in: r.in}
	n, err := io.Copy(to, base64.NewDecoder(base64.StdEncoding, text))
	if _, drainErr := io.Copy(io.Discard, text); err == nil {
		err = drainErr
	}
	if err == nil && n != size {
		err = fmt.Errorf("a body of %d bytes was announced as %d", n, size)
	}
	return err
}

// skipTo skips white space up to and including a character.
func (r *requests) skipTo(want byte) error {
	for {
		c, err := r.in.ReadByte()
		switch {
		case err != nil:
			return err
		case c == want:
			return nil
		case c != '\n' && c != ' ' && c != '\r' && c != '\t':
			return fmt.Errorf("expected a body, got %q", c)
		}
	}
}

// untilQuote reads up to the closing quote of a string without escapes.
type untilQuote struct {
	in   *bufio.Reader
	done bool
}

// Read reads a part of the string.
func (u *untilQuote) Read(p []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	if _, err := u.in.Peek(1); err != nil {
		return 0, errors.Join(io.ErrUnexpectedEOF, err)
	}
	have, err := u.in.Peek(min(len(p), u.in.Buffered()))
	if err != nil {
		return 0, err
	}
	n := len(have)
	if i := bytes.IndexByte(have, '"'); i >= 0 {
		n, u.done = i, true
	}
	copy(p, have[:n])
	skip := n
	if u.done {
		skip++
	}
	if _, err := u.in.Discard(skip); err != nil {
		return 0, err
	}
	if n == 0 && u.done {
		return 0, io.EOF
	}
	return n, nil
}

// responses writes responses, one at a time.
type responses struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (r *responses) send(resp response) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enc.Encode(resp)
}
