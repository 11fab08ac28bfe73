package read

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// firstPage is how many objects are requested at once before their size is known,
	// and maxPage how many at most.
	firstPage, maxPage = 64, 256
	// MaxPageBytes is the size of a page, at most: more than the largest object that
	// an API server stores. Half of it is what is requested, by the size of the last page.
	MaxPageBytes = 2 << 20
	// maxRequests is how many requests one list makes, at most. A list of more ends with
	// an error, in the namespace whose objects are that many and that large.
	maxRequests = 1000
	// pageTimeout bounds a request, which has one of the places of the process.
	pageTimeout = 30 * time.Second
)

// pages are how many pages are in memory at once in this process. Decoded, a page may
// need several times its size.
var pages = semaphore.NewWeighted(2)

// ErrTooLarge means that a page is larger than [MaxPageBytes].
var ErrTooLarge = errors.New("the response is too large")

// All are the objects of a list, read page by page: those who may create objects
// decide how many there are and how large they are, and the memory of this
// process serves all namespaces. An error ends the list.
//
// Each object is valid until the next one. A part that is kept is to be copied: a
// pointer into it keeps its page in memory. Nothing that calls All may be called from
// the loop. The size of pages is bounded for clients whose transport is [Bound].
func All[T any, P interface {
	*T
	client.Object
}](ctx context.Context, live client.Reader, list client.ObjectList, options ...client.ListOption) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		l := lister{live: live, list: list, options: options, limit: firstPage}
		for range maxRequests {
			stop := false
			more, err := l.page(ctx, func(o runtime.Object) {
				if !stop {
					stop = !yield(o.(P), nil)
				}
			})
			switch {
			case stop:
				return
			case err != nil:
				yield(nil, err)
				return
			case !more:
				return
			}
		}
		yield(nil, fmt.Errorf("list %T: the objects are too many or too large: more than %d pages of %d MiB", list, maxRequests, MaxPageBytes>>20))
	}
}

// lister reads the pages of a list.
type lister struct {
	live    client.Reader
	list    client.ObjectList
	options []client.ListOption
	// limit is how many objects the next page has, at most; next is where it begins.
	limit int64
	next  string
}

// page reads the next page, and reports whether there is another one, or this one is
// to be read again with fewer objects.
func (l *lister) page(ctx context.Context, do func(runtime.Object)) (more bool, err error) {
	if err := pages.Acquire(ctx, 1); err != nil {
		return false, fmt.Errorf("wait for other lists to be read: %w", err)
	}
	defer pages.Release(1)
	page := l.list.DeepCopyObject().(client.ObjectList)
	options := append(l.options[:len(l.options):len(l.options)], client.Limit(l.limit), client.Continue(l.next))
	size := &body{limit: MaxPageBytes}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	// The client logs bodies that it cannot read, and here that is no error.
	quiet := klog.NewContext(context.WithValue(ctx, bodyKey{}, size), logr.Discard())
	err = l.live.List(quiet, page, options...)
	switch {
	case errors.Is(err, ErrTooLarge) && l.limit > 1:
		l.limit = max(1, l.limit/8)
		return true, nil
	case errors.Is(err, ErrTooLarge):
		return false, fmt.Errorf("an object is larger than %d MiB: %w", MaxPageBytes>>20, err)
	case err != nil:
		return false, err
	}
	l.limit, l.next = size.fitting(l.limit), page.GetContinue()
	err = meta.EachListItem(page, func(o runtime.Object) error { do(o); return nil })
	return l.next != "", err
}

// bodyKey is the key of a body, in the context of a request.
type bodyKey struct{}

// body of a response, which fails when it is too long.
type body struct {
	io.ReadCloser
	limit, size int64
}

// Read counts what it reads.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.size += int64(n); b.size > b.limit {
		return 0, ErrTooLarge
	}
	return n, err
}

// fitting is how many objects to request after a page of so many: at most twice as many.
func (b *body) fitting(objects int64) int64 {
	more := min(2*objects, maxPage)
	if b.size == 0 {
		return more
	}
	return max(1, min(more, objects*b.limit/2/b.size))
}

// Bound makes the requests of [All] fail with [ErrTooLarge] before more than that
// is in memory. Other requests are not changed.
func Bound(next http.RoundTripper) http.RoundTripper { return bound{next} }

type bound struct{ next http.RoundTripper }

// RoundTrip returns a response whose body fails once it is longer than the context allows.
func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if of, ok := r.Context().Value(bodyKey{}).(*body); ok && err == nil {
		of.ReadCloser = response.Body
		response.Body = of
	}
	return response, err
}

// WrappedRoundTripper is the transport below, which client libraries look for.
func (b bound) WrappedRoundTripper() http.RoundTripper { return b.next }
