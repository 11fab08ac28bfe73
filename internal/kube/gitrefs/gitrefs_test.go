package gitrefs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/kube/gitrefs"
)

var commit = strings.Repeat("1", 40)

func at(namespace, url string) (types.NamespacedName, gitrefs.Ref) {
	return types.NamespacedName{Namespace: namespace, Name: "ci"}, gitrefs.Ref{Namespace: namespace, Remote: gitrepo.Remote{URL: url}}
}

// servers plays repositories by their URL.
type servers struct {
	mu      sync.Mutex
	answers map[string]func(context.Context) (string, error)
	asked   map[string]int
	running int
	most    int // that ran at once
}

func (s *servers) resolve(ctx context.Context, r gitrepo.Remote) (string, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[r.URL]++
	s.running++
	s.most = max(s.most, s.running)
	answer := s.answers[r.URL]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	if answer == nil { // it hangs
		<-ctx.Done()
		return "", ctx.Err()
	}
	return answer(ctx)
}

func (s *servers) set(url string, answer func(context.Context) (string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = map[string]func(context.Context) (string, error){}
	}
	s.answers[url] = answer
}

func (s *servers) count(url string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[url]
}

func prompt(context.Context) (string, error) { return commit, nil }

// queued starts the source, and returns the objects that it has woken since it
// was asked last.
func queued(t *testing.T, p *gitrefs.Poller) func() []types.NamespacedName {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(q.ShutDown)
	if err := p.Source().Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	return func() (all []types.NamespacedName) {
		for q.Len() > 0 {
			r, _ := q.Get()
			q.Done(r)
			all = append(all, r.NamespacedName)
		}
		return all
	}
}

// TestHangingServersOfOthers holds that 16 servers that hang, all of one
// namespace, do not hold up another namespace's look-up, on real connections.
func TestHangingServersOfOthers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := gitrefs.New(gitrefs.Options{Timeout: time.Minute})
	now := time.Now()
	for i := range 16 {
		object, ref := at("hostile", fmt.Sprintf("http://%s/%d", l.Addr(), i))
		if _, err := p.Lookup(now, object, ref); !errors.Is(err, gitrefs.ErrPending) {
			t.Fatalf("a server that hangs: %v", err)
		}
	}
	object, ref := at("other", "http://127.0.0.1:1/x") // refuses connections
	began := time.Now()
	for {
		_, err = p.Lookup(now, object, ref)
		if !errors.Is(err, gitrefs.ErrPending) || time.Since(began) > 20*time.Second {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestFairness holds that a namespace is served promptly whatever the queue of
// one other is, within one timeout when many namespaces hang, and that no more
// look-ups run than are allowed.
func TestFairness(t *testing.T) {
	for hostile, within := range map[int]time.Duration{1: 0, 3: 0, 4: gitrefs.Timeout, 100: 7 * gitrefs.Timeout} {
		synctest.Test(t, func(t *testing.T) {
			var s servers
			s.set("good", prompt)
			p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
			began := time.Now()
			for n := range hostile {
				for i := range 50 {
					_, _ = p.Lookup(began, types.NamespacedName{}, gitrefs.Ref{
						Namespace: fmt.Sprint("hostile", n), Remote: gitrepo.Remote{URL: fmt.Sprint("hangs/", n, "/", i)},
					})
				}
			}
			object, ref := at("good", "good")
			took := time.Duration(-1)
			for d := time.Duration(0); d <= 10*gitrefs.Timeout && took < 0; d += time.Second {
				_, _ = p.Lookup(began, object, ref) // the first asks, and is answered later
				synctest.Wait()
				if _, err := p.Lookup(began, object, ref); err == nil {
					took = time.Since(began)
					break
				}
				time.Sleep(time.Second)
			}
			if took < 0 || took > within {
				t.Errorf("%d namespaces that hang: the look-up took %s, want %s at most", hostile, took, within)
			}
			s.mu.Lock()
			if want := min(16, 4*hostile+1); s.most > want {
				t.Errorf("%d namespaces that hang: %d look-ups at once, want %d at most", hostile, s.most, want)
			}
			s.mu.Unlock()
			time.Sleep(time.Duration(hostile*50) * gitrefs.Timeout) // all end
		})
	}
}

// TestNoPassWaits holds that a call returns at once, that the object is woken
// by the answer, and only by one that is new.
func TestNoPassWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		slow := func(ctx context.Context) (string, error) {
			time.Sleep(5 * time.Second)
			return commit, ctx.Err()
		}
		s.set("slow", slow)
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		object, ref := at("n", "slow")
		ask := func(want string, wantErr error) {
			t.Helper()
			began := time.Now()
			got, err := p.Lookup(time.Now(), object, ref)
			if took := time.Since(began); got != want || !errors.Is(err, wantErr) || took > 0 {
				t.Errorf("%q, %v after %s; want %q, %v at once", got, err, took, want, wantErr)
			}
		}
		ended := func(want int) {
			t.Helper()
			time.Sleep(gitrefs.Timeout)
			synctest.Wait()
			if got := woken(); len(got) != want || want > 0 && got[0] != object {
				t.Errorf("woken: %v, want %d", got, want)
			}
		}
		ask("", gitrefs.ErrPending)
		ask("", gitrefs.ErrPending)
		ended(1)
		ask(commit, nil)
		if n := s.count("slow"); n != 1 {
			t.Errorf("%d look-ups, want one", n)
		}
		time.Sleep(gitrefs.Interval)
		ask(commit, nil) // what is known, while it is looked up again
		ended(0)
		newer := strings.Repeat("2", 40)
		s.set("slow", func(context.Context) (string, error) { return newer, nil })
		time.Sleep(gitrefs.Interval)
		ask(commit, nil)
		ended(1)
		ask(newer, nil)
		s.set("slow", nil)
		time.Sleep(gitrefs.Interval)
		ask(newer, nil)
		ended(1)
		ask("", gitrefs.ErrNoAnswer)
	})
}

// TestFirstFailures holds that a repository which does not answer at first, as right
// after the network was set up, is read again within seconds, and that one which stays
// away is read a few times in an hour.
func TestFirstFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		s.set("u", func(context.Context) (string, error) { return "", errors.New("no route to host") })
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		object, ref := at("n", "u")
		var is string
		// passes plays the controller for a time: it is woken, and asks once in an interval.
		passes := func(long time.Duration) {
			for began := time.Now(); time.Since(began) < long; time.Sleep(time.Second) {
				if len(woken()) > 0 || time.Since(began)%gitrefs.Interval == 0 {
					is, _ = p.Lookup(time.Now(), object, ref)
					synctest.Wait()
				}
			}
		}
		passes(time.Hour)
		if n := s.count("u"); n < 6 || n > 12 {
			t.Errorf("%d look-ups in an hour", n)
		}
		object, ref = at("n", "v")
		s.set("v", func(context.Context) (string, error) {
			s.set("v", prompt)
			return "", errors.New("no route to host")
		})
		passes(20 * time.Second)
		if is != commit {
			t.Errorf("%q was read within 20 s, want the commit", is)
		}
	})
}

// TestPushes holds that a push has its repository's refs looked up at once, that
// many have them looked up once in an interval, the last one not forgotten, and
// that a push during a look-up, which may have read what was there before, leads
// to another.
func TestPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		s.set("u", prompt)
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		object, ref := at("n", "u")
		pass := func() {
			_, _ = p.Lookup(time.Now(), object, ref)
			synctest.Wait()
			for range woken() { // as the controller would
				_, _ = p.Lookup(time.Now(), object, ref)
				synctest.Wait()
			}
		}
		// passes are made when the object is woken, for a time.
		passes := func(d time.Duration) int {
			before := s.count("u")
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				for range woken() {
					_, _ = p.Lookup(time.Now(), object, ref)
				}
				synctest.Wait()
			}
			return s.count("u") - before
		}
		pass()
		if n := s.count("u"); n != 1 {
			t.Fatalf("%d look-ups", n)
		}
		time.Sleep(30 * time.Second)
		woken()
		pass()
		if n := s.count("u"); n != 1 {
			t.Fatalf("%d look-ups within the interval without a push", n)
		}
		newer := strings.Repeat("2", 40)
		s.set("u", func(context.Context) (string, error) { return newer, nil })
		p.Pushed(time.Now(), object, "u")
		if n := passes(time.Second); n != 1 {
			t.Errorf("%d look-ups within a second of a push, want 1", n)
		}
		if got, err := p.Lookup(time.Now(), object, ref); got != newer || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		for range 1000 { // the same push again and again, for ten seconds
			p.Pushed(time.Now(), object, "u")
			time.Sleep(10 * time.Millisecond)
		}
		if n := passes(gitrefs.PushInterval + time.Second); n < 1 || n > 2 {
			t.Errorf("%d look-ups after a flood that no pass saw, want one, or two", n)
		}
		if n := passes(2 * gitrefs.PushInterval); n > 0 {
			t.Errorf("%d look-ups after the last push was answered", n)
		}
		time.Sleep(30 * time.Second)
		looked := make(chan struct{})
		s.set("u", func(context.Context) (string, error) { <-looked; return commit, nil })
		p.Pushed(time.Now(), object, "u")
		passes(time.Second)
		p.Pushed(time.Now(), object, "u") // while it runs
		s.set("u", func(context.Context) (string, error) { return newer, nil })
		close(looked)
		if n := passes(gitrefs.PushInterval + time.Second); n != 1 {
			t.Errorf("%d look-ups after a push during a look-up, want 1", n)
		}
		if got, err := p.Lookup(time.Now(), object, ref); got != newer || err != nil {
			t.Errorf("%s, %v: the push is forgotten", got, err)
		}
	})
}

// TestPushesOfOthers holds that a push is for one repository, as one namespace
// reads it.
func TestPushesOfOthers(t *testing.T) {
	t.Parallel()
	var s servers
	s.set("u", prompt)
	s.set("v", prompt)
	p := gitrefs.New(gitrefs.Options{Resolve: s.resolve, Go: func(f func()) { f() }})
	now := time.Now()
	asked := func() string {
		for _, namespace := range []string{"a", "b"} {
			for _, url := range []string{"u", "v"} {
				object, ref := at(namespace, url)
				if _, err := p.Lookup(now, object, ref); err != nil {
					t.Fatal(err)
				}
			}
		}
		return fmt.Sprintf("u %d, v %d", s.count("u"), s.count("v"))
	}
	if got := asked(); got != "u 2, v 2" {
		t.Fatal(got)
	}
	now = now.Add(30 * time.Second)
	object, _ := at("a", "u")
	p.Pushed(now, object, "u")
	if got := asked(); got != "u 3, v 2" {
		t.Errorf("after a push of u in namespace a: %s", got)
	}
	stranger, _ := at("c", "u")
	p.Pushed(now, stranger, "u")
	p.Pushed(now, object, "w")
	if got := asked(); got != "u 3, v 2" {
		t.Errorf("after pushes of others: %s", got)
	}
}

// TestPushesOfStaleRefs holds that a flood of pushes wakes an object once in an
// interval whatever is known of its repository: refs that it does not ask for any
// more, as after new credentials or another branch, refs of other objects, and a
// suspended object that asks for nothing. A ref that no pass of it has asked for
// wakes nothing.
func TestPushesOfStaleRefs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		s.set("u", prompt)
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		object, ref := at("n", "u")
		ask := func(object types.NamespacedName, ref gitrefs.Ref) {
			_, _ = p.Lookup(time.Now(), object, ref)
			synctest.Wait()
		}
		for i := range 20 { // of past versions of its Secret, and of past branches
			old := ref
			old.CredentialsVersion, old.Remote.Ref = fmt.Sprint(i), fmt.Sprint(i)
			ask(object, old)
			time.Sleep(250 * time.Millisecond)
		}
		deleted := types.NamespacedName{Namespace: "n", Name: "deleted"}
		ofDeleted := ref
		ofDeleted.Remote.Ref = "of another object"
		ask(deleted, ofDeleted)
		ask(object, ref)
		time.Sleep(2 * gitrefs.PushInterval)
		woken()
		// flood has a push received ten times in a second, for a minute, and returns how
		// often the object was woken.
		flood := func(suspended bool) (n int) {
			for range 600 {
				p.Pushed(time.Now(), object, "u")
				synctest.Wait()
				for range woken() {
					n++
					if !suspended {
						ask(object, ref)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(2 * gitrefs.PushInterval)
			woken()
			return n
		}
		before := s.count("u")
		if n := flood(false); n < 11 || n > 13 {
			t.Errorf("the object was woken %d times in a minute", n)
		}
		if n := s.count("u") - before; n < 11 || n > 13 {
			t.Errorf("%d look-ups in a minute", n)
		}
		if n := flood(true); n < 11 || n > 13 {
			t.Errorf("the suspended object was woken %d times in a minute", n)
		}
		stranger := types.NamespacedName{Namespace: "n", Name: "stranger"}
		for range 100 {
			p.Pushed(time.Now(), stranger, "u")
		}
		time.Sleep(2 * gitrefs.PushInterval)
		if all := woken(); len(all) > 0 {
			t.Errorf("woken for refs of others: %v", all)
		}
		time.Sleep(2 * time.Hour)
		p.Pushed(time.Now(), object, "u")
		if n := p.Known(); n != 0 {
			t.Errorf("%d refs are known that no pass has asked for since two hours", n)
		}
	})
}

// TestPushWakesForAllRefs holds that one wake-up finds all refs of the repository
// due that the object asks for, whenever each was looked up.
func TestPushWakesForAllRefs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		s.set("u", prompt)
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		object, main := at("n", "u")
		release := main
		release.Remote.Ref = "release"
		pass := func() {
			_, _ = p.Lookup(time.Now(), object, main)
			_, _ = p.Lookup(time.Now(), object, release)
			synctest.Wait()
		}
		_, _ = p.Lookup(time.Now(), object, main) // before the second one is declared
		synctest.Wait()
		time.Sleep(4 * time.Second)
		pass()
		woken()
		time.Sleep(500 * time.Millisecond)
		before := s.count("u")
		p.Pushed(time.Now(), object, "u")
		for range 80 {
			time.Sleep(100 * time.Millisecond)
			for range woken() {
				pass()
			}
		}
		if n := s.count("u") - before; n != 2 {
			t.Errorf("%d look-ups of the two refs within eight seconds of a push", n)
		}
	})
}

// TestFailuresSlowDown holds that a ref that fails is looked up less and less
// often, and as often as before once it is read.
func TestFailuresSlowDown(t *testing.T) {
	t.Parallel()
	var s servers
	fails := func(context.Context) (string, error) { return "", errors.New(strings.Repeat("x", 1<<20)) }
	s.set("a", fails)
	p := gitrefs.New(gitrefs.Options{Resolve: s.resolve, Go: func(f func()) { f() }})
	now := time.Now()
	object, ref := at("n", "a")
	hour := func() int {
		before := s.count("a")
		for range 60 {
			now = now.Add(time.Minute)
			if _, err := p.Lookup(now, object, ref); err != nil && len(err.Error()) > gitrepo.MaxError {
				t.Fatalf("an error of %d bytes is kept", len(err.Error()))
			}
		}
		return s.count("a") - before
	}
	if n := hour(); n < 4 || n > 8 {
		t.Errorf("%d look-ups in an hour of failures", n)
	}
	s.set("a", prompt)
	hour()
	if n := hour(); n != 60 {
		t.Errorf("%d look-ups in an hour, want 60", n)
	}
}

// TestNothingIsShared holds that namespaces, and versions of credentials, do not
// see each other's answers, and that refs are forgotten.
func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	p := gitrefs.New(gitrefs.Options{Go: func(f func()) { f() }, Resolve: func(context.Context, gitrepo.Remote) (string, error) {
		return fmt.Sprint(n.Add(1)), nil
	}})
	now := time.Now()
	object, ref := at("a", "u")
	other := ref
	other.Namespace = "b"
	newer := ref
	newer.CredentialsVersion = "2"
	for i, r := range []gitrefs.Ref{ref, other, newer} {
		if got, err := p.Lookup(now, object, r); got != fmt.Sprint(i+1) || err != nil {
			t.Errorf("%+v: %s, %v", r, got, err)
		}
	}
	if got, _ := p.Lookup(now, object, ref); got != "1" {
		t.Errorf("asked again at once: %s", got)
	}
	if got := p.Known(); got != 3 {
		t.Errorf("%d refs are known, want 3", got)
	}
	_, _ = p.Lookup(now.Add(2*time.Hour), object, ref)
	if got := p.Known(); got != 1 {
		t.Errorf("%d refs are known after two hours, want 1", got)
	}
}

// TestLargeCredentials holds that look-ups which wait for servers that hang hold no
// more memory than a namespace may, and that all are made in the end. Each source of
// a GoCache may name certificates of a megabyte.
func TestLargeCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s servers
		p := gitrefs.New(gitrefs.Options{Resolve: s.resolve})
		woken := queued(t, p)
		large := make([]byte, 1<<20)
		ask := func(i int) error {
			object, ref := at("hostile", fmt.Sprint("hangs/", i))
			object.Name = fmt.Sprint(i)
			ref.Remote.CA = large
			_, err := p.Lookup(time.Now(), object, ref)
			return err
		}
		const all = 64
		for i := range all {
			if err := ask(i); !errors.Is(err, gitrefs.ErrPending) {
				t.Fatal(err)
			}
		}
		object, ref := at("other", "good")
		s.set("good", prompt)
		for began := time.Now(); time.Since(began) < 20*gitrefs.Timeout; time.Sleep(time.Second) {
			if held := p.Held("hostile"); held > gitrefs.MaxHeld {
				t.Fatalf("%d MiB are held", held>>20)
			}
			for _, o := range woken() {
				var i int
				if _, err := fmt.Sscan(o.Name, &i); err == nil && o.Namespace == "hostile" {
					_ = ask(i)
				}
			}
			_, _ = p.Lookup(time.Now(), object, ref)
			synctest.Wait()
		}
		if got, err := p.Lookup(time.Now(), object, ref); got != commit || err != nil {
			t.Errorf("another namespace: %s, %v", got, err)
		}
		for i := range all {
			if s.count(fmt.Sprint("hangs/", i)) == 0 {
				t.Errorf("look-up %d was never made", i)
			}
		}
		time.Sleep(time.Duration(all) * gitrefs.Timeout)
		synctest.Wait()
		if held := p.Held("hostile"); held != 0 {
			t.Errorf("%d bytes are held after the end", held)
		}
	})
}

// TestChangingURLs holds that a namespace cannot have any number of refs remembered by
// naming another repository again and again.
func TestChangingURLs(t *testing.T) {
	t.Parallel()
	p := gitrefs.New(gitrefs.Options{Go: func(f func()) { f() }, Resolve: func(context.Context, gitrepo.Remote) (string, error) { return commit, nil }})
	now := time.Now()
	other, ref := at("other", "u")
	if _, err := p.Lookup(now, other, ref); err != nil {
		t.Fatal(err)
	}
	for i := range 5 * gitrefs.MaxKnown {
		object, ref := at("hostile", fmt.Sprint("u/", i))
		if got, err := p.Lookup(now, object, ref); got != commit || err != nil {
			t.Fatal(got, err)
		}
	}
	if known := p.Known(); known > gitrefs.MaxKnown+1 {
		t.Errorf("%d refs are known", known)
	}
}

// TestPanic holds that a server whose answer makes the reader panic does not end the
// process, and that the next look-up is made.
func TestPanic(t *testing.T) {
	t.Parallel()
	var s servers
	s.set("u", func(context.Context) (string, error) { panic("index out of range") })
	p := gitrefs.New(gitrefs.Options{Resolve: s.resolve, Go: func(f func()) { f() }})
	object, ref := at("n", "u")
	now := time.Now()
	if _, err := p.Lookup(now, object, ref); err == nil || !strings.Contains(err.Error(), "defect") || strings.Contains(err.Error(), "index") {
		t.Error(err)
	}
	s.set("u", prompt)
	if got, err := p.Lookup(now.Add(time.Hour), object, ref); got != commit || err != nil {
		t.Error(got, err)
	}
}
