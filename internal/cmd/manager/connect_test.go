package manager

import (
	"net/http"
	"net/http/httptest"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// TestRefusedWhileItStarts holds that an API server which refuses everything, as one
// does until it has read the roles, is waited for: its own addresses, which users may
// not have the manager connect to, are not known yet.
func TestRefusedWhileItStarts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no roles yet"}`))
	}))
	defer server.Close()
	addresses, err := locate(t.Context(), &rest.Config{Host: server.URL})
	if err == nil || !apierrors.IsForbidden(err) || !incurable(err) {
		t.Errorf("%v, %v", addresses, err)
	}
}
