package integration

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/loopback"
)

// asHook is set in the environment of a process that is to be the hook of a git
// server: it sends a push webhook to this URL, signed with the token of pushToken.
const (
	asHook    = "TEST_AS_PUSH_HOOK"
	pushToken = "TEST_PUSH_TOKEN"
)

// sendPush sends what git reports of a push to a URL, as GitHub does.
func sendPush(ctx context.Context, url, token string, report io.Reader) (int, error) {
	body, err := io.ReadAll(report)
	if err != nil {
		return 0, err
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	out, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return 0, err
	}
	return out.StatusCode, out.Body.Close()
}

// TestPushWebhook lets a real git server report a real push to a running manager:
// the commit is looked up within seconds, long before the repository would be
// polled. A push with another token, and one at the path of another namespace,
// have no effect.
func TestPushWebhook(t *testing.T) {
	const token = "correct horse battery staple"
	ns, others := server.Namespace(t), server.Namespace(t)
	repository, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	first, err := repository.Commit(t.Context(), map[string]string{"go.mod": "module example.com/one\n"})
	must(t, err)
	handler, err := repository.Handler(t.Context(), "", "")
	must(t, err)
	git := httptest.NewServer(handler)
	defer git.Close()
	url := git.URL + "/program.git"
	for namespace, token := range map[string]string{ns: token, others: "the token of other people"} {
		must(t, server.Client.Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push", Annotations: map[string]string{v1alpha1.HostsAnnotation: "127.0.0.1"}},
			StringData: map[string]string{"token": token},
		}))
		must(t, server.Client.Create(t.Context(), &v1alpha1.GoCache{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ci"},
			Spec: v1alpha1.GoCacheSpec{
				Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}, Storage: v1alpha1.CacheStorage{Size: resource.MustParse("1Gi")},
				WarmUp: &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Git: &v1alpha1.GitSource{
					URL: url, Webhook: &v1alpha1.GitWebhook{SecretRef: v1alpha1.LocalReference{Name: "push"}},
				}}}},
			},
		}))
	}
	receiver := loopback.Address(t)
	runManager(t, kubeconfig(t), "--watch-namespace", ns+","+others, "--push-bind-address", receiver, "--allow-loopback-addresses")
	revision := func(namespace string) (r v1alpha1.GitRevision, err error) {
		var cache v1alpha1.GoCache
		if err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "ci"}, &cache); err != nil {
			return r, err
		}
		if len(cache.Status.WarmUp.Revisions) == 0 {
			return r, fmt.Errorf("no revision yet")
		}
		return cache.Status.WarmUp.Revisions[0], nil
	}
	paths := map[string]string{}
	for _, namespace := range []string{ns, others} {
		eventually(t, "the first commit is known, and the path is published", func() error {
			r, err := revision(namespace)
			if err != nil {
				return err
			}
			if r.Commit != first || r.Webhook == nil || r.Webhook.Path == "" {
				return fmt.Errorf("revision %+v", r)
			}
			paths[namespace] = "http://" + receiver + r.Webhook.Path
			return nil
		})
	}
	for what, at := range map[string]string{"with a guess": paths[ns], "for another namespace": paths[others]} {
		used := token
		if at == paths[ns] {
			used = "a guess at the token"
		}
		if code, err := sendPush(t.Context(), at, used, strings.NewReader("{}")); err != nil || code != http.StatusUnauthorized {
			t.Errorf("a push %s: %d, %v", what, code, err)
		}
	}

	// The hook of the repository is this program.
	self, err := os.Executable()
	must(t, err)
	script := fmt.Sprintf("#!/bin/sh\n%s='%s' %s='%s' exec '%s'\n", asHook, paths[ns], pushToken, token, self)
	must(t, os.WriteFile(filepath.Join(repository.Dir, "hooks", "post-receive"), []byte(script), 0o700)) //nolint:gosec // a program
	second, err := repository.Commit(t.Context(), map[string]string{"go.mod": "module example.com/two\n"})
	must(t, err)
	pushed := time.Now()
	eventually(t, "the commit that was pushed is known", func() error {
		r, err := revision(ns)
		if err == nil && r.Commit != second {
			err = fmt.Errorf("revision %+v", r)
		}
		return err
	})
	took := time.Since(pushed)
	t.Logf("known %s after the push", took.Round(time.Millisecond))
	if took > 20*time.Second {
		t.Errorf("it took %s: the repository was polled", took)
	}
	if r, err := revision(others); err != nil || r.Commit != first {
		t.Errorf("the other namespace, for which nothing was pushed, has %+v, %v", r, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
