package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/domain/modsum"
)

// renewAfter is how old a client of the checksum database is when a failure makes
// us replace it: it remembers every failed lookup for as long as it lives.
const renewAfter = 10 * time.Second

// publicKeys are those of databases that GOSUMDB may name without one, each
// without the name. The hash in front of a key covers the name, so none fits
// another database.
var publicKeys = []string{"033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"}

// database checks what is fetched with a checksum database.
type database struct {
	name, key string
	upstream  *upstream
	store     *Store
	timeout   time.Duration
	now       func() time.Time
	log       logr.Logger

	mu     sync.Mutex
	client *sumdb.Client
	born   time.Time
}

// verifierKey of a value of GOSUMDB; empty: it is one of the public ones, under
// another name.
func verifierKey(gosumdb string) (string, error) {
	first := strings.Fields(gosumdb)[0]
	if !strings.Contains(first, "+") {
		return publicKey(first), nil
	}
	if _, err := note.NewVerifier(first); err != nil {
		return "", fmt.Errorf("GOSUMDB=%q: %w", gosumdb, err)
	}
	return first, nil
}

// publicKey of a database, with its name; empty: not known.
func publicKey(name string) string {
	for _, key := range publicKeys {
		if _, err := note.NewVerifier(name + "+" + key); err == nil {
			return name + "+" + key
		}
	}
	return ""
}

// mirroredKey is the key of the database that this one is a mirror of: its tree
// is signed in the name of that one.
func (p *pages) mirroredKey() (string, error) {
	tree, err := p.read("/latest")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(tree)) {
		if signature, ok := strings.CutPrefix(line, "\u2014 "); ok {
			name, _, _ := strings.Cut(signature, " ")
			if key := publicKey(name); key != "" {
				return key, nil
			}
		}
	}
	return "", fmt.Errorf("the key of the checksum database %s is not known: write GOSUMDB as NAME+HASH+KEY", p.name)
}

// vouch is why the database does not have a sum for a version: an error that is
// badAnswer if it has another.
func (d *database) vouch(ctx context.Context, m module.Version, sum modsum.Sum) error {
	client := d.current()
	err := d.compare(ctx, client, m, sum)
	if err != nil && ctx.Err() == nil && d.renew(client) {
		err = d.compare(ctx, d.current(), m, sum)
	}
	return err
}

func (d *database) compare(ctx context.Context, client *sumdb.Client, m module.Version, sum modsum.Sum) error {
	type result struct {
		lines []string
		err   error
	}
	found := make(chan result, 1)
	go func() { // the client has no context
		lines, err := client.Lookup(m.Path, m.Version)
		found <- result{lines, err}
	}()
	select {
	case r := <-found:
		if r.err != nil {
			return fmt.Errorf("ask the checksum database for %s: %w", m, r.err)
		}
		for _, line := range r.lines {
			if line == m.Path+" "+m.Version+" "+sum.String() {
				return nil
			}
		}
		return &badAnswer{fmt.Errorf("checksum mismatch: %s has %s, and the checksum database %s has another", m, sum, d.name)}
	case <-ctx.Done():
		return fmt.Errorf("ask the checksum database for %s: %w", m, ctx.Err())
	}
}

func (d *database) current() *sumdb.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client == nil {
		d.make(false)
	}
	return d.client
}

// renew replaces a client that failed, and reports whether it did. The new one
// does not use what the store has: that may be why.
func (d *database) renew(failed *sumdb.Client) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != failed || d.now().Sub(d.born) < renewAfter {
		return false
	}
	d.make(true)
	return true
}

func (d *database) make(fresh bool) {
	d.client, d.born = sumdb.NewClient(&pages{d, fresh}), d.now()
}

// pages of a checksum database, as its client reads them: from the store, where
// clients of the proxy find them too, or else from the upstream.
type pages struct {
	*database
	fresh bool
}

// ReadRemote implements sumdb.ClientOps.
func (p *pages) ReadRemote(path string) ([]byte, error) {
	name := "sumdb/" + p.name + path
	if !p.fresh {
		if e, err := p.store.open(name); err == nil {
			defer func() { _ = e.Close() }() // read only
			return io.ReadAll(io.LimitReader(e, maxText))
		}
	}
	page, err := p.read(path)
	if err != nil {
		return nil, err
	}
	p.store.stored(name, p.store.write(name, bytes.NewReader(page)))
	return page, nil
}

func (p *pages) read(path string) (page []byte, err error) {
	ctx, cancel := context.WithTimeout(withOutcome(context.Background(), &outcome{}), p.timeout)
	defer cancel()
	target := &url.URL{Scheme: sumdbScheme, Host: p.name, Path: path}
	err = p.upstream.attempts(ctx, target, func(resp *http.Response) error {
		page, err = io.ReadAll(io.LimitReader(resp.Body, maxText))
		return broken(err)
	})
	return page, err
}

// ReadConfig implements sumdb.ClientOps.
func (p *pages) ReadConfig(file string) ([]byte, error) {
	if file != "key" {
		return []byte{}, nil // the tree that is known at the start: none
	}
	if p.key != "" {
		return []byte(p.key), nil
	}
	key, err := p.mirroredKey()
	return []byte(key), err
}

// WriteConfig implements sumdb.ClientOps.
func (*pages) WriteConfig(string, []byte, []byte) error { return nil }

// ReadCache implements sumdb.ClientOps: what ReadRemote finds in the store is
// checked like all else.
func (*pages) ReadCache(string) ([]byte, error) { return nil, errors.ErrUnsupported }

// WriteCache implements sumdb.ClientOps.
func (*pages) WriteCache(string, []byte) {}

// Log implements sumdb.ClientOps.
func (*pages) Log(string) {}

// SecurityError implements sumdb.ClientOps.
func (p *pages) SecurityError(message string) {
	p.log.Error(errors.New(message), "The checksum database contradicts itself", "database", p.name)
}
