package gocache

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/pushes"
)

// hooks plays the receiver of push webhooks.
type hooks map[types.NamespacedName][]pushes.Hook

func (h hooks) Set(object types.NamespacedName, all []pushes.Hook) { h[object] = all }
func (h hooks) OnPush(pushes.Pushed)                               {}

// TestWebhook holds that the pushes of a repository are received at the published
// path with a token that its Secret allows, and with no other; that the Secret
// keeps nothing else from being done; and that its token is repeated nowhere.
func TestWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("", "")
	w.push(r, "module one\n")
	received := hooks{}
	w.reconciler.Pushes = received
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url, Webhook: &v1alpha1.GitWebhook{SecretRef: v1alpha1.LocalReference{Name: "push"}}}))
	w.settle()
	key := client.ObjectKeyFromObject(w.get())
	path := pushes.Path(w.get().UID, r.url)
	refused := func(message string) {
		t.Helper()
		w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, message)
		if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition); c != nil {
			t.Errorf("the repository is polled, and still %s", c.Message)
		}
		if got := w.get().Status.WarmUp.Revisions[0].Webhook; got == nil || got.Path != "" || !strings.Contains(got.Message, message) {
			t.Errorf("status %+v, want %q", got, message)
		}
		if got := received[key]; len(got) > 0 {
			t.Errorf("pushes are received: %v", got)
		}
	}
	accepted := func(token string) {
		t.Helper()
		if got := w.get().Status.WarmUp.Revisions[0].Webhook; got == nil || *got != (v1alpha1.GitWebhookStatus{Path: path}) {
			t.Errorf("status %+v, want path %s", got, path)
		}
		if got, want := fmt.Sprint(received[key]), fmt.Sprint([]pushes.Hook{{Path: path, URL: r.url, Token: []byte(token)}}); got != want {
			t.Errorf("hooks %s, want %s", got, want)
		}
	}
	refused("Secret push does not exist")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "push"}, StringData: map[string]string{"token": "correct horse battery\n", "password": "another thing"}}
	w.must(server.Client.Create(t.Context(), secret))
	w.wait(pass.SecretInterval)
	refused("has no annotation cache.gocache.dev/hosts")
	secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: "git.example.com"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	refused(`allows "git.example.com" only`)
	secret.Annotations[v1alpha1.HostsAnnotation] = "127.0.0.1"
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	accepted("correct horse battery")

	secret.StringData = map[string]string{"token": "the token that follows it"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.Interval)
	accepted("the token that follows it")
	secret.StringData = map[string]string{"token": "short"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.Interval)
	refused("has 5 characters, and needs 16 at least")
	status, err := json.Marshal(w.get())
	w.must(err)
	if all := string(status) + w.newEvents(); strings.Contains(all, "horse") || strings.Contains(all, "follows") || strings.Contains(all, `"short"`) {
		t.Errorf("a token is told: %s", all)
	}

	secret.StringData = map[string]string{"token": "correct horse battery"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	accepted("correct horse battery")
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.settle()
	if got := received[key]; len(got) > 0 {
		t.Errorf("pushes for a GoCache that was deleted are received: %v", got)
	}
}

// TestWebhookWithoutReceiver holds that a manager that receives no pushes reports
// it, and polls.
func TestWebhookWithoutReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("", "")
	commit := w.push(r, "module one\n")
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url, Webhook: &v1alpha1.GitWebhook{SecretRef: v1alpha1.LocalReference{Name: "push"}}}))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "runs without --push-bind-address")
	if got := w.get().Status.WarmUp.Revisions[0]; got.Commit != commit {
		t.Errorf("revision %+v", got)
	}
	wrote := len(w.mortal.Writes)
	for range 10 {
		w.wait(time.Minute)
	}
	if wrote := w.mortal.Writes[wrote:]; len(wrote) > 0 {
		t.Errorf("writes at rest: %q", wrote)
	}
}
