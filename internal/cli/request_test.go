package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

// TestRetriable holds after which errors a wait goes on.
func TestRetriable(t *testing.T) {
	r := schema.GroupResource{Resource: "cacherequests"}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errBroken, true}, {fmt.Errorf("get: %w", errBroken), true}, {context.Canceled, false}, {fmt.Errorf("get: %w", context.DeadlineExceeded), false},
		{apierrors.NewServerTimeout(r, "get", 1), true}, {apierrors.NewTooManyRequests("", 1), true}, {apierrors.NewServiceUnavailable(""), true},
		{apierrors.NewInternalError(errBroken), true}, {apierrors.NewTimeoutError("", 1), true},
		{apierrors.NewForbidden(r, "", nil), false}, {apierrors.NewNotFound(r, ""), false}, {apierrors.NewUnauthorized(""), false}, {apierrors.NewBadRequest(""), false},
	} {
		if got := retriable(tt.err); got != tt.want {
			t.Errorf("%T %v: %t", tt.err, tt.err, got)
		}
	}
}

// TestWaitEnds holds how a wait ends that has no outcome: by an error that stays, or with
// its command.
func TestWaitEnds(t *testing.T) {
	denied := apierrors.NewForbidden(schema.GroupResource{Resource: "cacherequests"}, "", nil)
	a, _, _ := fakeApp(t, reading[*v1alpha1.CacheRequest](clientOf(), denied), nil)
	if err := run(t, a, "warm-up", "ci", "--wait"); !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), "wait for CacheRequest ci-warm-up-") {
		t.Errorf("a request that may not be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := interceptor.NewClient(clientOf(), interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		cancel()
		return c.Get(ctx, key, o, opts...)
	}})
	a, _, _ = fakeApp(t, c, nil)
	root := a.root("v0.1.0")
	root.SetArgs([]string{"warm-up", "ci", "--wait"})
	if err := root.ExecuteContext(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "is not finished") {
		t.Errorf("an interrupted command: %v", err)
	}
}

// TestRequestErrors holds what a command that requests an action does with an API server
// that refuses, and with an output that takes nothing.
func TestRequestErrors(t *testing.T) {
	refused := interceptor.NewClient(clientOf(), interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return errBroken }})
	a, out, _ := fakeApp(t, refused, nil)
	if err := run(t, a, "warm-up", "ci"); !errors.Is(err, errBroken) || out.Len() > 0 {
		t.Errorf("%v, printed %q", err, out)
	}
	a, _, _ = fakeApp(t, clientOf(), nil)
	a.Out = full{}
	if err := run(t, a, "warm-up", "ci", "--wait", "-o", "yaml"); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	a, out, _ = fakeApp(t, clientOf(), nil)
	if err := run(t, a, "warm-up", "ci", "-o", "nosuch"); err == nil || out.Len() > 0 {
		t.Errorf("an unknown format: %v, printed %q", err, out)
	}
	dry := 0
	c := interceptor.NewClient(clientOf(), interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		options := (&client.CreateOptions{}).ApplyOptions(opts)
		dry += len(options.DryRun)
		return c.Create(ctx, o, opts...)
	}})
	a, out, _ = fakeApp(t, c, nil)
	if err := run(t, a, "warm-up", "ci", "--dry-run=server", "--wait"); err != nil || dry != 1 || !strings.HasSuffix(out.String(), " created (dry run)\n") {
		t.Errorf("a dry run of the server: %v, %d, %q", err, dry, out)
	}
	a, out, _ = fakeApp(t, refused, nil)
	if err := run(t, a, "warm-up", "ci", "--dry-run=client"); err != nil || !strings.HasSuffix(out.String(), " created (dry run)\n") {
		t.Errorf("a dry run without the server: %v, %q", err, out)
	}
	a.client = func() (client.Client, error) { return nil, errBroken }
	for _, args := range []string{"warm-up ci", "status", "env ci", "logs ci", "doctor", "diff a b", "csicheck fast"} {
		if err := run(t, a, strings.Fields(args)...); !errors.Is(err, errBroken) {
			t.Errorf("%s without a cluster: %v", args, err)
		}
	}
}

// TestMissingArgument holds what is proposed in the place of an argument that is missing.
func TestMissingArgument(t *testing.T) {
	cache := func(name string, plan *v1alpha1.CleanupPlan) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{ObjectMeta: meta(name, time.Hour)}
		c.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: plan}
		return c
	}
	c := clientOf(cache("ci", &v1alpha1.CleanupPlan{Digest: "sha256:abc", Open: true, Entries: 7, Bytes: 4096, Time: ago(time.Hour)}), cache("unplanned", nil), cache("closed", &v1alpha1.CleanupPlan{Digest: "sha256:abc"}))
	for line, want := range map[string]string{
		"approve ci":        "DIGEST is missing: the plan of 2026-12-01T11:00:00Z removes 7 entries with 4096 bytes; to approve it: kubectl gocache approve ci sha256:abc -n ci",
		"approve unplanned": "GoCache unplanned has no cleanup plan that waits for an approval",
		"approve closed":    "GoCache closed has no cleanup plan that waits for an approval",
		"approve nosuch":    "not found",
		"failover nosuch":   "not found",
	} {
		a, _, _ := fakeApp(t, c, nil)
		if err := run(t, a, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestTargets holds which texts name an object.
func TestTargets(t *testing.T) {
	both := []string{v1alpha1.GoCacheKind, v1alpha1.ModProxyKind}
	for text, want := range map[string]string{
		"ci": "GoCache ci", "gocache/ci": "GoCache ci", "GOCACHES/ci": "GoCache ci", "Goc/ci": "GoCache ci", "mproxy/p": "ModProxy p", "modproxies/p": "ModProxy p",
		"modproxy/a/b": "ModProxy a/b", "": "", "gocache/": "", "/ci": "", "pod/ci": "", "csnap/ci-1": "",
	} {
		got, err := parseTarget(text, both...)
		shown := strings.TrimSpace(got.Kind + " " + got.Name)
		if shown != want || (err != nil) != (want == "") || err != nil && !strings.Contains(err.Error(), "want NAME of a GoCache, or KIND/NAME with a kind of GoCache, ModProxy") {
			t.Errorf("%q: %q, %v, want %q", text, shown, err, want)
		}
	}
}

// TestWatch holds that a text is shown again only when it has changed: below the one before,
// or on a terminal in its place.
func TestWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		color bool
		want  string
	}{"in lines": {false, "one\n\ntwo\n"}, "on a terminal": {true, "\x1b[H\x1b[2Jone\n\x1b[H\x1b[2Jtwo\n"}} {
		synctest.Test(t, func(t *testing.T) {
			streams, _, out, _ := genericiooptions.NewTestIOStreams()
			a := &app{IOStreams: streams, color: tt.color}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			texts, began := []string{"one\n", "one\n", "two\n", "two\n"}, time.Now()
			err := a.watch(ctx, func(context.Context) (string, error) {
				if len(texts) == 0 {
					cancel()
					return "three\n", errBroken
				}
				text := texts[0]
				texts = texts[1:]
				return text, nil
			})
			if err != nil || out.String() != tt.want || time.Since(began) != 4*watchInterval {
				t.Errorf("%s: %v after %s, %q", name, err, time.Since(began), out)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := &app{}
		a.Out = full{}
		if err := a.watch(t.Context(), func(context.Context) (string, error) { return "", errBroken }); !errors.Is(err, errBroken) {
			t.Errorf("what cannot be read: %v", err)
		}
		if err := a.watch(t.Context(), func(context.Context) (string, error) { return "one\n", nil }); !errors.Is(err, errFull) {
			t.Errorf("an output that takes nothing: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.watch(ctx, func(context.Context) (string, error) { return "", nil }); err != nil {
			t.Errorf("it ends between two looks: %v", err)
		}
	})
	if watchInterval != 2*time.Second {
		t.Errorf("looks every %s", watchInterval)
	}
}
