package router

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// ClientsOptions are which clients the router serves.
type ClientsOptions struct {
	// Directory holds the files username and password, mounted from a Secret; empty:
	// clients need no credentials.
	Directory string
	// File is what HAProxy compares the credentials of a request with: digests of
	// what clients send, and no password.
	File string
	// Socket is HAProxy's, over which changed credentials replace the former.
	Socket string
}

// clients bring the credentials of a mounted Secret to HAProxy. Without valid
// ones it serves no client, and with invalid ones those that were valid last.
type clients struct {
	options ClientsOptions
	log     logr.Logger
	now     func() time.Time

	mu sync.Mutex
	// failure is why no client can authenticate; empty: some can.
	failure string
	noted   string
}

// follow looks at the Secret every interval.
func (c *clients) follow(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.bring(ctx)
		}
	}
}

// bring makes HAProxy compare with the Secret's credentials.
func (c *clients) bring(ctx context.Context) {
	err := c.install(ctx)
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text != c.noted {
		c.log.Info("The credentials of clients", "problem", text)
		c.noted = text
	}
	c.failure = ""
	if stored, readErr := os.ReadFile(c.options.File); readErr != nil || len(bytes.TrimSpace(stored)) == 0 {
		c.failure = "no client can authenticate: " + text
	}
}

func (c *clients) install(ctx context.Context) error {
	digest, err := Digest(c.options.Directory)
	stored, readErr := os.ReadFile(c.options.File)
	if err != nil {
		if readErr != nil { // HAProxy starts, and refuses all
			err = errors.Join(err, replaceFile(c.options.File, nil))
		}
		return err
	}
	if readErr != nil || strings.TrimSpace(string(stored)) != digest {
		if err := replaceFile(c.options.File, []byte(digest+"\n")); err != nil {
			return err
		}
	}
	return c.hand(ctx, digest)
}

// Digest is what the file for HAProxy holds of the credentials in a directory: the
// SHA-256 of what clients send in place of them, in hexadecimal.
func Digest(directory string) (string, error) {
	var values [2]string
	for i, key := range []string{"username", "password"} {
		text, err := os.ReadFile(filepath.Join(directory, key)) //nolint:gosec // mounted from the Secret
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the Secret does not exist, may not be used, or has no key %s: see condition Stalled of the ModProxy", key)
		}
		if err != nil {
			return "", errors.New("the mounted Secret cannot be read")
		}
		if len(text) == 0 {
			return "", fmt.Errorf("the key %s of the Secret is empty", key)
		}
		values[i] = string(text)
	}
	if strings.Contains(values[0], ":") {
		return "", errors.New("the key username of the Secret contains a colon")
	}
	sent := base64.StdEncoding.EncodeToString([]byte(values[0] + ":" + values[1]))
	sum := sha256.Sum256([]byte(sent))
	return strings.ToUpper(hex.EncodeToString(sum[:])), nil
}

var newVersion = regexp.MustCompile(`New version created: ([0-9]+)`)

// hand replaces the digests in a running HAProxy, if it compares with others: all
// of them in one step.
func (c *clients) hand(ctx context.Context, digest string) error {
	if _, err := os.Stat(c.options.Socket); errors.Is(err, fs.ErrNotExist) {
		return nil // it has not started, and will read the file
	}
	s := socket{path: c.options.Socket, now: c.now}
	shown, err := s.command(ctx, "show acl "+c.options.File, "")
	if refused := (*net.OpError)(nil); errors.As(err, &refused) {
		return nil // it does not run now, and will read the file
	}
	if err != nil {
		return err
	}
	if strings.Contains(shown, digest) && strings.Count(shown, "0x") == 1 {
		return nil
	}
	prepared, err := s.command(ctx, "prepare acl "+c.options.File, "New version created")
	if err != nil {
		return err
	}
	version := newVersion.FindStringSubmatch(prepared)
	if version == nil {
		return errRefused
	}
	// These answer nothing when they succeed. A version that is committed without the
	// digest would let no client in.
	for _, command := range []string{"add acl @" + version[1] + " " + c.options.File + " " + digest, "commit acl @" + version[1] + " " + c.options.File} {
		answer, err := s.command(ctx, command, "")
		if err != nil {
			return err
		}
		if answer != "" {
			return errRefused
		}
	}
	return nil
}

// errRefused has no answer of HAProxy, which may repeat the digest.
var errRefused = errors.New("HAProxy refuses the credentials of clients")

// problem is why no client can authenticate; empty: some can, or need not.
func (c *clients) problem() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}
