package apiclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestPathOf(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		"# only a comment\n": "",
		"apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: s}":                   "/api/v1/namespaces/s/services/x",
		"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: x}":             "/apis/storage.k8s.io/v1/storageclasses/x",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: kube-system}": "/apis/apps/v1/namespaces/kube-system/deployments/x",
	} {
		got, err := pathOf([]byte(document))
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", document, got, err, want)
		}
	}
	if _, err := pathOf([]byte("apiVersion: v1\nkind: Volcano")); err == nil || !strings.Contains(err.Error(), "Volcano") {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	calls := 0
	err := Wait(t.Context(), time.Minute, func(context.Context) error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	reason := errors.New("the reason")
	err = Wait(t.Context(), time.Millisecond, func(context.Context) error { return reason })
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), "not within 1ms") {
		t.Errorf("after the timeout: %v", err)
	}
	calls = 0
	err = Wait(t.Context(), time.Minute, func(context.Context) error { calls++; return Final(reason) })
	if !errors.Is(err, reason) || calls != 1 {
		t.Errorf("after a final error: %d calls, %v", calls, err)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	conditions := []condition{{Type: "Ready", Status: "False", Message: "no network"}, {Type: "Other", Status: "True"}}
	if err := ready(conditions, "Ready", "node n"); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("got %v", err)
	}
	if err := ready(conditions, "Other", "node n"); err != nil {
		t.Error(err)
	}
	if err := ready(nil, "Ready", "node n"); err == nil {
		t.Error("no condition is taken for a good one")
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	var served string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"resources":[%s]}`, served)
	}))
	defer server.Close()
	client := &Client{server: server.URL, http: server.Client()}

	served = `{"name":"volumesnapshotclasses"},{"name":"volumesnapshotcontents"},{"name":"volumesnapshots/status"}`
	if err := client.Snapshots(t.Context()); err == nil || !strings.Contains(err.Error(), "volumesnapshots are not served") {
		t.Errorf("without VolumeSnapshots: %v", err)
	}
	served += `,{"name":"volumesnapshots"}`
	if err := client.Snapshots(t.Context()); err != nil {
		t.Error(err)
	}
}
