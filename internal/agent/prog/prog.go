package prog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/domain/buildcache"
)

// Options are the command's flags.
type Options struct {
	Lower string // a build cache that is only read; may be empty
	Upper string // a build cache for what is not in the lower one
	// UpperOf names what the upper layer is of, such as a branch of a repository: a
	// layer of something else is refused. Empty: it is not checked.
	UpperOf string
	// UpperBytes is the size of the upper layer after each go command that uses it
	// alone; 0 is no limit. What was used last stays.
	UpperBytes int64
	Stats      bool // write one line of counts to Stderr at the end

	Clock  func() time.Time
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Stats count what was asked.
type Stats struct {
	Hits    atomic.Int64 // of both layers
	Lower   atomic.Int64 // of those, hits of the lower layer
	Misses  atomic.Int64
	Puts    atomic.Int64
	Damaged atomic.Int64 // entries of the lower layer that were refused
}

// String is one line for people and scripts. Each lookup of the go command is a hit
// or a miss; a package can need several.
func (s *Stats) String() string {
	hits, lower, misses := s.Hits.Load(), s.Lower.Load(), s.Misses.Load()
	return fmt.Sprintf("%d lookups, %d hits (%d of them shared, %d private), %d misses, %d stored, %d damaged",
		hits+misses, hits, lower, hits-lower, misses, s.Puts.Load(), s.Damaged.Load())
}

// Run serves one go command until it closes.
func Run(o Options) (*Stats, error) {
	lower, upper, err := openLayers(o)
	if err != nil {
		return nil, err
	}
	own, err := openPrivate(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prog: upper layer %s: %w", o.Upper, err), lower.close(), upper.close())
	}
	if err := own.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("prog: upper layer %s: %w", o.Upper, err), lower.close(), upper.close(), own.close())
	}
	s := &server{
		Options: o, own: own, lower: lower, upper: upper,
		in:  &requests{bufio.NewReaderSize(o.Stdin, maxRequest)},
		out: &responses{enc: json.NewEncoder(o.Stdout)},
	}
	err = s.serve()
	if n := s.stats.Damaged.Load(); n > 0 {
		_, _ = fmt.Fprintf(o.Stderr, "gocache-agent prog: %d damaged entries of %s counted as misses\n", n, o.Lower)
	}
	if o.Stats {
		_, _ = fmt.Fprintln(o.Stderr, "gocache-agent prog:", s.stats.String())
	}
	return &s.stats, errors.Join(err, lower.close(), upper.close(), own.close())
}

type server struct {
	Options
	own          *private
	lower, upper *layer
	in           *requests
	out          *responses
	stats        Stats
	warned       sync.Once
}

// serve reads requests in order; bodies have to be read as they come, and gets
// are answered beside them.
func (s *server) serve() error {
	if err := s.out.send(response{KnownCommands: []string{cmdGet, cmdPut, cmdClose}}); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(4 * runtime.GOMAXPROCS(0))
	for {
		req, err := s.in.next()
		if errors.Is(err, io.EOF) {
			return group.Wait()
		}
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		switch req.Command {
		case cmdClose:
			if err := group.Wait(); err != nil {
				return err
			}
			s.evict()
			return s.out.send(response{ID: req.ID})
		case cmdPut:
			resp, err := s.put(req)
			if err != nil {
				return errors.Join(err, group.Wait()) // the stream is lost
			}
			if err := s.out.send(resp); err != nil {
				return err
			}
		case cmdGet:
			group.Go(func() error { return s.out.send(s.get(req)) })
		default:
			if err := s.out.send(response{ID: req.ID, Err: "unknown command " + req.Command}); err != nil {
				return err
			}
		}
	}
}

// evict removes what is above the limit of the upper layer before the go command
// ends. That it fails is no reason for a build to fail.
func (s *server) evict() {
	removed, err := s.own.end()
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(s.Stderr, "gocache-agent prog: the upper layer is not kept within its limit:", err)
	case s.Options.Stats && removed.Ran:
		_, _ = fmt.Fprintf(s.Stderr, "gocache-agent prog: the upper layer has %d entries, %d MiB; %d evicted\n", removed.Entries, removed.Bytes>>20, removed.Evicted)
	}
}

// get looks into the upper layer, then into the lower one. Everything that is
// not an intact hit is a miss.
func (s *server) get(req request) response {
	id, err := idOf(req.ActionID)
	if err != nil {
		return response{ID: req.ID, Err: err.Error()}
	}
	for _, l := range []*layer{s.upper, s.lower} {
		hit, err := l.get(id)
		if err == nil {
			s.stats.Hits.Add(1)
			if l == s.lower {
				s.stats.Lower.Add(1)
			} else {
				l.used(id, s.Clock())
			}
			return response{ID: req.ID, OutputID: hit.entry.Output[:], Size: hit.entry.Size, Time: &hit.entry.Time, DiskPath: hit.path}
		}
		if errors.Is(err, errDamaged) {
			s.stats.Damaged.Add(1)
			s.warned.Do(func() { _, _ = fmt.Fprintln(s.Stderr, "gocache-agent prog:", err) })
		}
	}
	s.stats.Misses.Add(1)
	return response{ID: req.ID, Miss: true}
}

// put stores a body. An error is one of the stream, after which nothing more
// can be read; a body that cannot be stored is reported to the go command.
func (s *server) put(req request) (response, error) {
	s.stats.Puts.Add(1)
	action, err1 := idOf(req.ActionID)
	output, err2 := idOf(req.OutputID)
	stored, err := s.upper.receive(req.BodySize, s.in)
	if err != nil {
		return response{}, err
	}
	if err := errors.Join(err1, err2); err != nil {
		return response{ID: req.ID, Err: err.Error()}, stored.discard()
	}
	path, err := stored.commit(buildcache.Entry{Action: action, Output: output, Size: req.BodySize, Time: s.Clock()})
	if err != nil {
		return response{ID: req.ID, Err: err.Error()}, nil //nolint:nilerr // it is the go command's to know
	}
	return response{ID: req.ID, DiskPath: path}, nil
}

func idOf(b []byte) (id buildcache.ID, err error) {
	if len(b) != len(id) {
		return id, fmt.Errorf("an ID of %d bytes instead of %d", len(b), len(id))
	}
	return buildcache.ID(b), nil
}
