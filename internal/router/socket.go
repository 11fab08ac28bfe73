package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	socketTimeout = 5 * time.Second
	maxReply      = 64 << 10
)

// socket is that of HAProxy for administration, inside of the pod.
type socket struct {
	path string
	now  func() time.Time
}

// command sends one command to HAProxy and reads the complete answer, which
// must contain success. The command is in no error: it may contain a key.
func (s socket) command(ctx context.Context, line, success string) (string, error) {
	conn, err := (&net.Dialer{Timeout: socketTimeout}).DialContext(ctx, "unix", s.path)
	if err != nil {
		return "", fmt.Errorf("reach HAProxy: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(s.now().Add(socketTimeout)); err != nil {
		return "", fmt.Errorf("reach HAProxy: %w", err)
	}
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", errors.New("HAProxy does not listen on its socket")
	}
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if err != nil {
		return "", errors.New("HAProxy does not answer on its socket")
	}
	text := strings.TrimSpace(string(reply))
	if !strings.Contains(text, success) {
		return "", fmt.Errorf("HAProxy refuses a command: %s", text)
	}
	return text, nil
}
