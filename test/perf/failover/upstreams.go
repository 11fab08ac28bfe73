package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

const (
	third = "third" // the name of the instance that one row adds
	// longestPause is how long an answer that arrives steadily may be silent.
	longestPause = 5 * time.Second
)

// upstreamDoes injects a fault of the upstream.
func upstreamDoes(fault upstreamFault) func(context.Context, *site, *victim) error {
	return func(_ context.Context, s *site, _ *victim) error {
		s.upstream.fault.Store(fault)
		return nil
	}
}

func upstreamDoesNot(_ context.Context, s *site) error {
	s.upstream.fault.Store(upstreamFault(""))
	return nil
}

// graph reads the module graph of modules that no store holds: no archive is
// needed for it.
func (w *workspace) graph(int) job {
	return job{map[string]string{"go.mod": w.goMod(w.upstream.cold...)}, []string{"list", "-mod=mod", "-m", "all"}}
}

// query asks for a version as people write it.
func (w *workspace) query(n int) job {
	version := []string{"v2.0.0", "v2", "v2.0", "latest"}[n%4]
	return job{map[string]string{"go.mod": w.goMod()}, []string{"list", "-m", w.upstream.incompatible.Path + "@" + version}}
}

// deleteBoth deletes the pods of all instances, as a user does by hand.
func deleteBoth(ctx context.Context, s *site, _ *victim) error {
	for _, name := range []string{bad, good} {
		pod, err := s.pod(ctx, name)
		if err != nil {
			return err
		}
		if err := s.Client.Delete(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// stores has something done to the stores of instances.
func (s *site) stores(ctx context.Context, kind string, names ...string) error {
	var errs []error
	for _, name := range names {
		pod, err := s.pod(ctx, name)
		if err == nil {
			err = s.command(ctx, pod.Status.PodIP, "/store", url.Values{"kind": {kind}}, nil)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func fillBoth(ctx context.Context, s *site, _ *victim) error {
	return s.stores(ctx, "full", bad, good)
}

func emptyBoth(ctx context.Context, s *site) error {
	return s.stores(ctx, "empty", bad, good)
}

// addThird gives the proxy a third instance, and waits until it serves.
func addThird(ctx context.Context, s *site) error {
	p, err := s.proxy(ctx)
	if err != nil {
		return err
	}
	added := p.Spec.Instances[0].DeepCopy()
	added.Name = third
	p.Spec.Instances = append(p.Spec.Instances, *added)
	if err := s.Client.Update(ctx, p); err != nil {
		return fmt.Errorf("add an instance: %w", err)
	}
	if err := replaced(ctx, s); err != nil {
		return err
	}
	if err := s.full(ctx); err != nil {
		return err
	}
	return scenario.Until(ctx, 2*time.Minute, "the third instance to serve", func(ctx context.Context) (bool, string, error) {
		p, err := s.proxy(ctx)
		if err != nil {
			return false, "", err
		}
		i := instanceOf(p, third)
		return i.Healthy && i.ObservedWeight == 100, fmt.Sprintf("healthy %v, weight %d", i.Healthy, i.ObservedWeight), nil
	})
}

// forgetThere leaves one store with the versions.
func forgetThere(ctx context.Context, s *site, v *victim) error {
	if err := upstreamDoes(forgets)(ctx, s, v); err != nil {
		return err
	}
	return s.stores(ctx, "empty", good, third)
}

func removeThird(ctx context.Context, s *site) error {
	if err := upstreamDoesNot(ctx, s); err != nil {
		return err
	}
	p, err := s.proxy(ctx)
	if err != nil || len(p.Spec.Instances) < 3 {
		return err
	}
	p.Spec.Instances = p.Spec.Instances[:2]
	if err := s.Client.Update(ctx, p); err != nil {
		return fmt.Errorf("remove the third instance: %w", err)
	}
	return replaced(ctx, s)
}

// startReading reads the slow archive through the router beside the clients.
func startReading(ctx context.Context, s *site) error {
	s.reading = make(chan error, 1)
	go func() { s.reading <- s.readSlow(ctx) }()
	return nil
}

// readSlow fails unless the archive begins at once and arrives without a pause: a
// design that sends an answer only when it has all of it passes on some networks,
// and on others meets a timeout that is not known here.
func (s *site) readSlow(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.single+"/"+s.upstream.slow.Path+"/@v/"+version+".zip", http.NoBody)
	if err != nil {
		return err
	}
	last, pause, size, first := time.Now(), time.Duration(0), 0, time.Duration(0)
	began := last
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return fmt.Errorf("read the slow archive: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	for buf := make([]byte, 64<<10); ; {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			now := time.Now()
			if size == 0 {
				first = now.Sub(began)
			}
			size, pause, last = size+n, max(pause, now.Sub(last)), now
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the slow archive: %w after %d bytes", err, size)
		}
	}
	s.n.Print("the slow archive: %d bytes in %s, the first after %s, no pause longer than %s", size,
		time.Since(began).Round(time.Second), first.Round(time.Millisecond), pause.Round(time.Millisecond))
	if resp.StatusCode != http.StatusOK || size < slowOne || pause > longestPause {
		return fmt.Errorf("the slow archive: %s, %d bytes, a pause of %s", resp.Status, size, pause)
	}
	return nil
}

// readSteadily is the result of startReading.
func readSteadily(ctx context.Context, s *site) error {
	select {
	case err := <-s.reading:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkBoth has both stores checked, with the answers to queries in them.
func checkBoth(ctx context.Context, s *site, _ *victim) error {
	s.began = time.Now()
	for _, name := range []string{bad, good} {
		address, err := s.instance(ctx, name)
		if err != nil {
			return err
		}
		for _, file := range []string{"@v/v2.0.0.info", "@v/v2.info", "@v/v2.0.info", "@latest"} {
			if err := s.get(ctx, address+"/"+s.upstream.incompatible.Path+"/"+file); err != nil {
				return err
			}
		}
	}
	r := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "integrity-"}}
	r.Spec = v1alpha1.CacheRequestSpec{
		TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: proxyName}, Action: v1alpha1.RequestCheckIntegrity,
	}
	if err := s.Client.Create(ctx, r); err != nil {
		return fmt.Errorf("request a check: %w", err)
	}
	return scenario.Until(ctx, 2*time.Minute, "both stores to be checked", func(ctx context.Context) (bool, string, error) {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return false, "", err
		}
		return r.Status.Outcome == v1alpha1.RequestSucceeded, fmt.Sprintf("%s %s", r.Status.Outcome, r.Status.Message), nil
	})
}

func (s *site) get(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the status is all
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", address, resp.Status)
	}
	return nil
}

// noneQuarantined fails if an instance is quarantined, or was: that is an event.
func noneQuarantined(ctx context.Context, s *site) error {
	p, err := s.proxy(ctx)
	if err != nil {
		return err
	}
	for _, i := range p.Status.Instances {
		if i.Quarantined != nil {
			return fmt.Errorf("%s is quarantined: %s", i.Name, i.Quarantined.Message)
		}
	}
	var events corev1.EventList
	if err := s.Client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		return err
	}
	for _, e := range events.Items {
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.EventTime.Time
		}
		if e.Reason == "InstanceQuarantined" && at.After(s.began) {
			return fmt.Errorf("%s: %s", e.Reason, e.Message)
		}
	}
	return nil
}
