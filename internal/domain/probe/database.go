package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"gocache.dev/operator/internal/domain/goproxy"
)

const (
	// DatabaseMetric is 1 for the checksum database that our own server proxies.
	// Without one it has no such metric.
	DatabaseMetric = "gocache_proxy_checksum_database"
	// DatabaseLabel of it is the name.
	DatabaseLabel = "name"

	// StaleHeader marks an answer that our own server gave from its store because
	// the upstream failed (RFC 9211).
	StaleHeader = "Cache-Status"
	// StaleValue is how.
	StaleValue = "gocache-proxy; hit; detail=upstream-failed"
)

// Database is a checksum database as clients name it.
type Database struct {
	// Name of it.
	Name string
	// Key in the syntax of golang.org/x/mod/sumdb/note; empty: not known, so that
	// no signature is checked.
	Key string
}

// ParseDatabase reads a value of GOSUMDB. Its name is empty when the database
// is off, or when there is no value.
func ParseDatabase(gosumdb string) Database {
	fields := strings.Fields(gosumdb)
	if len(fields) == 0 || fields[0] == "off" {
		return Database{}
	}
	name, _, hasKey := strings.Cut(fields[0], "+") // "name+hash+key" is a verifier key
	if !hasKey {
		return Database{Name: name}
	}
	return Database{Name: name, Key: fields[0]}
}

// DatabaseName asks our own server which checksum database it proxies.
func (t Target) DatabaseName(ctx context.Context) (string, error) {
	page, err := t.metrics(ctx, t.Pages)
	if err != nil {
		return "", err
	}
	metrics, err := page.named(DatabaseMetric)
	if err != nil {
		return "", err
	}
	for _, label := range metrics[0].GetLabel() {
		if label.GetName() == DatabaseLabel {
			return label.GetValue(), nil
		}
	}
	return "", fmt.Errorf("GET %s: %s has no label %s", page.name(), DatabaseMetric, DatabaseLabel)
}

// Database asks for a checksum database through the instance, as the go command
// does: whether it proxies it, and then for one page that always comes from the
// database itself. An instance that reports that it does not proxy it is
// absent: that is no failure by itself, since clients then ask the database
// directly.
func (t Target) Database(ctx context.Context, db Database) (result Result, absent bool) {
	client := &goproxy.Client{Base: t.Base, HTTP: t.http(), MaxText: maxTree, Own: t.Own}
	supported, err := client.SumDBSupported(ctx, db.Name)
	switch {
	case err != nil:
		return cannot(err), false
	case !supported:
		return Result{Unknown, "it reports that it does not proxy " + db.Name}, true
	}
	text, header, err := client.SumDBLatest(ctx, db.Name)
	if err != nil {
		return reached(err), false
	}
	if header.Get(StaleHeader) == StaleValue {
		message := "it cannot reach " + db.Name + ", and answers from its store"
		if cause := goproxy.UpstreamCause(header); t.Own && cause != "" {
			message += ": " + cause
		}
		return Result{Failed, message}, false
	}
	if err := db.check(text); err != nil {
		return Result{Failed, fmt.Sprintf("the newest tree of %s that it serves is malformed, or has no valid signature", db.Name)}, false
	}
	return Result{Outcome: Passed}, false
}

// reached sorts an error of an instance that proxies the database: a page that
// is not found is a failure here.
func reached(err error) Result {
	if errors.Is(err, goproxy.ErrRedirected) {
		return cannot(err)
	}
	return fail(err)
}

// maxTree bounds a signed tree, in bytes.
const maxTree = 64 << 10

func (db Database) check(tree []byte) error {
	if db.Key != "" {
		verifier, err := note.NewVerifier(db.Key)
		if err != nil {
			return err
		}
		if _, err := note.Open(tree, note.VerifierList(verifier)); err != nil {
			return err
		}
	}
	_, err := tlog.ParseTree(tree)
	return err
}
