package integrity

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
)

// SumDB is a checksum database whose records a module cache keeps.
type SumDB struct {
	// Key is the verifier key: name, hash and public key apart by +.
	Key string
	// Latest is the signed tree head that the go command keeps outside of the
	// module cache, in GOPATH/pkg/sumdb. Without it some of the newest records
	// cannot be proven.
	Latest []byte
	// Remote fetches what the cache does not have, by a path such as
	// /lookup/M@V. Nil: only what is cached counts.
	Remote func(path string) ([]byte, error)
	// Private are the modules that Remote gets no names of, in the syntax of GONOSUMDB.
	Private string
}

// Name is the database's name.
func (s *SumDB) Name() (string, error) {
	v, err := note.NewVerifier(s.Key)
	if err != nil {
		return "", fmt.Errorf("checksum database key: %w", err)
	}
	return v.Name(), nil
}

const (
	sumdbDir  = modcache.DownloadDir + "/sumdb"
	maxRecord = 4 << 20
	// notHad marks what is absent, through the client, which keeps only the
	// text of errors.
	notHad = "could not be had"
)

// proveAll adds to trust what the databases prove about the versions, and
// reports records that prove nothing because they are damaged.
func (r *run) proveAll(root *tree.Dir, versions []modcache.Version) error {
	if len(r.SumDBs) == 0 {
		return nil
	}
	if r.Trust == nil {
		r.Trust = NewTrust()
	}
	for i := range r.SumDBs {
		name, err := r.SumDBs[i].Name()
		if err != nil {
			return err
		}
		db := &database{run: r, root: root, dir: sumdbDir + "/" + name, name: name, SumDB: &r.SumDBs[i], latest: r.SumDBs[i].Latest}
		db.client = sumdb.NewClient(db)
		for j := range versions {
			db.prove(versions[j].Version)
		}
	}
	return nil
}

// database answers the client of golang.org/x/mod/sumdb from a module cache.
type database struct {
	*run
	*SumDB
	root   *tree.Dir
	dir    string
	name   string
	client *sumdb.Client

	mu       sync.Mutex
	latest   []byte
	security string
	damaged  bool // reported already: the whole of it has to go
	private  bool // the version that is looked up
	fetched  bool // something of the version came from Remote
	wrong    bool // an answer of Remote was: the client does not forget it
}

// prove looks a version up and adds its lines in the database to trust.
func (d *database) prove(m module.Version) {
	d.security, d.fetched, d.private = "", false, module.MatchPrefixPatterns(d.Private, m.Path)
	record := d.record(m)
	for _, version := range []string{m.Version, m.Version + "/go.mod"} {
		lines, err := d.client.Lookup(m.Path, version)
		if err != nil {
			d.failed(record, err)
			return
		}
		if err := d.Trust.AddProven(d.name, strings.NewReader(strings.Join(lines, "\n"))); err != nil {
			d.failed(record, err)
			return
		}
	}
}

// record is where the cache keeps a version's record.
func (d *database) record(m module.Version) string {
	e, err := modcache.Escape(m)
	if err != nil {
		return d.dir
	}
	return d.dir + "/lookup/" + e.Path + "@" + e.Version
}

// failed distinguishes missing records from corrupt ones. A damaged tile
// affects many records, so it is reported once.
func (d *database) failed(record string, err error) {
	switch {
	case (d.fetched || d.wrong) && (d.security != "" || !strings.Contains(err.Error(), notHad)):
		d.wrong = true
		// The cache is not to blame for what the network answers, as a portal does that asks for a login.
		d.found.add(Finding{Class: Unreadable, Severity: SeverityUnreadable, Cache: Modules, Path: record, Detail: "the answer for it from the checksum database is wrong: " + cmp.Or(d.security, err.Error())})
	case d.security != "":
		d.found.add(Finding{Class: ChecksumMismatch, Severity: SeverityCorrupt, Cache: Modules, Path: record, Detail: d.security, Remove: []string{d.dir}})
	case strings.Contains(err.Error(), notHad):
		d.found.add(Finding{Class: Unverifiable, Severity: Note, Cache: Modules, Path: record, Detail: "the checksum database's records in the cache do not prove it"})
	case !d.damaged:
		d.damaged = true
		d.found.add(Finding{Class: Corrupt, Severity: SeverityCorrupt, Cache: Modules, Path: record, Detail: err.Error(), Remove: []string{d.dir}})
	}
}

// ReadRemote fetches a record, if that is allowed.
func (d *database) ReadRemote(p string) ([]byte, error) {
	if d.Remote == nil || d.private {
		return nil, fmt.Errorf("%s %s", p, notHad)
	}
	data, err := d.Remote(p)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", p, notHad, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetched = true
	return data, nil
}

// ReadConfig gives the key and the tree head known so far.
func (d *database) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(d.Key), nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.latest), nil
}

// WriteConfig keeps a newer tree head for this check only.
func (d *database) WriteConfig(_ string, old, latest []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !bytes.Equal(old, d.latest) {
		return sumdb.ErrWriteConflict
	}
	d.latest = bytes.Clone(latest)
	return nil
}

// ReadCache reads a record from the module cache.
func (d *database) ReadCache(file string) ([]byte, error) {
	dir, err := d.root.Sub(path.Join(sumdbDir, path.Dir(file)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	data, _, err := dir.ReadFile(path.Base(file), nil, maxRecord)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.unreadable(Modules, path.Join(sumdbDir, file), err)
	}
	if err == nil && len(data) == 0 {
		return nil, fs.ErrNotExist // a writer that was killed left it; the go command looks it up again
	}
	return data, err
}

// WriteCache keeps nothing: a check only reads.
func (d *database) WriteCache(string, []byte) {}

// Log is of no interest.
func (d *database) Log(string) {}

// SecurityError is called when the database contradicts itself.
func (d *database) SecurityError(msg string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.security = msg
}
