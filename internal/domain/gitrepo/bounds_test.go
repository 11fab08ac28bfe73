package gitrepo

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// flood accepts connections and sends zeros on each.
func flood(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for {
					if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestLongLists holds that of several long lists over SSH only a few are read
// at once, that short ones do not wait, and that a place is given back when a
// connection is closed, and at its deadline.
func TestLongLists(t *testing.T) {
	address := flood(t)
	dial := func(deadline time.Time) net.Conn {
		query := url.Values{"most": {strconv.Itoa(maxRefs)}, "deadline": {strconv.FormatInt(deadline.UnixMilli(), 10)}}
		d, err := newBoundedDialer(&url.URL{Scheme: boundedScheme, Host: "ssh", RawQuery: query.Encode()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := d.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	read := func(c net.Conn, atLeast int) (n int, err error) {
		for b := make([]byte, 32<<10); n < atLeast && err == nil; {
			var more int
			more, err = c.Read(b)
			n += more
		}
		return n, err
	}
	later := time.Now().Add(time.Minute)
	held, other := dial(later), dial(later)
	for _, c := range []net.Conn{held, other} {
		if n, err := read(c, 2*shortList); err != nil {
			t.Fatalf("a long list: %v after %d bytes", err, n)
		}
	}
	if n, err := read(dial(later), shortList); err != nil {
		t.Errorf("a short list waits: %v after %d bytes", err, n)
	}
	if n, err := read(dial(time.Now().Add(200*time.Millisecond)), 2*shortList); err == nil {
		t.Errorf("a third long list is read at once: %v after %d bytes", err, n)
	}
	_ = other.Close()
	// A busy machine may not read a long list in a short time; then more is given.
	for within := 250 * time.Millisecond; ; within *= 2 {
		n, err := read(dial(time.Now().Add(within)), 2*shortList)
		if err == nil {
			break
		}
		if within > 20*time.Second {
			t.Fatalf("no place after one was closed: %v after %d bytes", err, n)
		}
	}
	for range 2 { // the place of the connection that expires, and that of the one that is closed
		next := dial(later)
		if n, err := read(next, 2*shortList); err != nil {
			t.Errorf("no place: %v after %d bytes", err, n)
		}
		_ = next.Close()
		_ = held.Close()
	}
	last := dial(later)
	if n, err := read(last, 2*maxRefs); !errors.Is(err, errTooManyRefs) {
		t.Errorf("an endless list: %v after %d bytes", err, n)
	}
}

// TestLinksBelowAnyName holds that links which lead out of a repository are removed
// whatever bytes the names of its directories have.
func TestLinksBelowAnyName(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "d\xe9")
	if err := errors.Join(os.Mkdir(at, 0o700), os.Symlink("/etc", filepath.Join(at, "out")), os.Symlink("missing", filepath.Join(at, "in"))); err != nil {
		t.Fatal(err)
	}
	if err := removeLinksOut(dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(at); err != nil || len(left) != 1 || left[0].Name() != "in" {
		t.Errorf("left %v, %v", left, err)
	}
}
