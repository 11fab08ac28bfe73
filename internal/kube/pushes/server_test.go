package pushes_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/pushes"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestServer holds that pushes are received over https, with headers of a bounded
// size, and that the server ends with its context.
func TestServer(t *testing.T) {
	t.Parallel()
	certificate, ca, err := gitserver.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld()
	server := &pushes.Server{Address: loopback.Address(t), CertDir: dir, Receiver: w}
	if !server.NeedLeaderElection() {
		t.Error("replicas that do not lead, and know no hooks, would receive pushes")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	post := func(header http.Header) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+server.Address+path(first), strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		r.Header = header
		out, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		return out.StatusCode, out.Body.Close()
	}
	code, deadline := 0, time.Now().Add(20*time.Second)
	for {
		if code, err = post(signed(token, body)); err == nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || code != http.StatusAccepted {
		t.Fatalf("%d, %v", code, err)
	}
	// The server of Go reads some KiB more than its limit, which is 16 KiB.
	for size, accepted := range map[int]bool{16 << 10: true, 25 << 10: false, 64 << 10: false} {
		large := signed(token, body)
		large.Set("X-Large", strings.Repeat("x", size))
		if code, err := post(large); accepted != (code == http.StatusAccepted) || err == nil && !accepted && code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("with %d bytes of headers: %d, %v", size, code, err)
		}
	}
	// A client that sends plain http gets no push accepted.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: %s\r\nContent-Length: 0\r\n\r\n", path(first), token)
	if line, _ := bufio.NewReader(conn).ReadString('\n'); strings.Contains(line, "202") {
		t.Errorf("plain http is answered with %q", line)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
}

// TestConnectionsOfOneAddress holds that connections of one address which send
// nothing, however many, leave others their place; and that the address is served
// again as soon as it has closed one.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld()
	server := &pushes.Server{Address: loopback.Address(t), Receiver: w}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	// dial connects from an address of the loopback network.
	dial := func(from string) (net.Conn, error) {
		d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return d.DialContext(t.Context(), "tcp", server.Address)
	}
	// push sends one, and returns the first line of the answer.
	push := func(from string) (string, error) {
		conn, err := dial(from)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second)) // before idle connections end
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", path(first), token)
		return bufio.NewReader(conn).ReadString('\n')
	}
	eventually := func(from string) (line string, err error) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if line, err = push(from); strings.Contains(line, "202") || time.Now().After(end) {
				return line, err
			}
		}
	}
	if line, err := eventually("127.0.0.3"); !strings.Contains(line, "202") {
		t.Fatalf("%q, %v", line, err)
	}
	var idle []net.Conn
	for range 400 {
		conn, err := dial("127.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	if line, err := push("127.0.0.3"); !strings.Contains(line, "202") {
		t.Errorf("beside 400 connections of another address: %q, %v", line, err)
	}
	for _, conn := range idle {
		_ = conn.Close()
	}
	if line, err := eventually("127.0.0.2"); !strings.Contains(line, "202") {
		t.Errorf("after they were closed: %q, %v", line, err)
	}
}

// TestSlowSenders holds that a connection which does not send the rest of its request ends
// after the time for it: five seconds for headers, fifteen for all.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	server := &pushes.Server{Address: loopback.Address(t), Receiver: newWorld()}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	// dial waits for the server, and returns when the connection began: the server cannot
	// have begun to measure its time before.
	dial := func() (conn net.Conn, began time.Time, err error) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			began = time.Now()
			if conn, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Address); err == nil || began.After(end) {
				return conn, began, err
			}
		}
	}
	for name, tt := range map[string]struct {
		sends      string
		from, upTo time.Duration
	}{
		"nothing":            {"", 5 * time.Second, 12 * time.Second},
		"a part of a header": {"POST " + path(first) + " HTTP/1.1\r\nHost: x\r\nX-Gitlab", 5 * time.Second, 12 * time.Second},
		"a part of its body": {"POST " + path(first) + " HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: " + token + "\r\nContent-Length: 9\r\n\r\n{", 15 * time.Second, 40 * time.Second},
		"no further request": {"POST " + path(first) + " HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: " + token + "\r\nContent-Length: 0\r\n\r\n", 15 * time.Second, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, began, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write([]byte(tt.sends)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(began.Add(time.Minute))
			_, err = io.Copy(io.Discard, conn)
			if took := time.Since(began); errors.Is(err, os.ErrDeadlineExceeded) || took < tt.from || took > tt.upTo {
				t.Errorf("it was closed after %s (%v), want %s to %s", took, err, tt.from, tt.upTo)
			}
		})
	}
}
