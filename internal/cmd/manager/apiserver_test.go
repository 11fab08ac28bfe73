package manager

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// emptyServer is an API server that has every kind of the operator, and no object.
type emptyServer struct {
	*httptest.Server
	mu    sync.Mutex
	away  bool // it answers nothing
	lists map[schema.GroupVersion]*metav1.APIResourceList
}

// newEmptyServer starts one.
func newEmptyServer(t *testing.T) *emptyServer {
	t.Helper()
	s := &emptyServer{lists: map[schema.GroupVersion]*metav1.APIResourceList{}}
	scheme := newScheme()
	for kind := range scheme.AllKnownTypes() {
		if kind.Version == "__internal" || strings.HasSuffix(kind.Kind, "List") || strings.HasSuffix(kind.Kind, "Options") || kind.Kind == "WatchEvent" {
			continue
		}
		of := s.lists[kind.GroupVersion()]
		if of == nil {
			of = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: kind.GroupVersion().String()}
			s.lists[kind.GroupVersion()] = of
		}
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		of.APIResources = append(of.APIResources, metav1.APIResource{Name: plural.Resource, Kind: kind.Kind, Namespaced: kind.Kind != "StorageClass", Verbs: metav1.Verbs{"get", "list", "watch"}})
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// goAway makes it answer nothing, or answer again.
func (s *emptyServer) goAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// ServeHTTP answers with what kinds there are, and with lists of nothing.
func (s *emptyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("sendInitialEvents") != "" { // as before Kubernetes 1.34: clients list instead
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(apierrors.NewInvalid(schema.GroupKind{}, "", nil).Status())
		return
	}
	if r.URL.Query().Get("watch") != "" {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	answer := s.answer(strings.Split(strings.Trim(r.URL.Path, "/"), "/"))
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		answer = apierrors.NewNotFound(schema.GroupResource{}, r.URL.Path).Status()
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// answer is what is at a path: api/VERSION/RESOURCE or apis/GROUP/VERSION/RESOURCE, with
// namespaces/NAME before the resource or not.
func (s *emptyServer) answer(path []string) any {
	if len(path) == 1 {
		return s.groups(path[0])
	}
	of, rest := schema.GroupVersion{Version: path[1]}, path[2:]
	if path[0] == "apis" && len(path) > 2 {
		of, rest = schema.GroupVersion{Group: path[1], Version: path[2]}, path[3:]
	}
	list := s.lists[of]
	if list == nil || len(rest) == 0 {
		return list
	}
	if len(rest) > 2 && rest[0] == "namespaces" {
		rest = rest[2:]
	}
	at := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == rest[0] })
	if at < 0 || len(rest) > 1 {
		return nil
	}
	return map[string]any{"apiVersion": of.String(), "kind": list.APIResources[at].Kind + "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}
}

// groups are the versions of the API, or all its groups.
func (s *emptyServer) groups(of string) any {
	if of == "api" {
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"}}
	}
	all := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for version := range s.lists {
		if version.Group == "" {
			continue
		}
		v := metav1.GroupVersionForDiscovery{GroupVersion: version.String(), Version: version.Version}
		all.Groups = append(all.Groups, metav1.APIGroup{Name: version.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return all
}

// TestAddressesOf holds which addresses are those of the API server: by its name, by that
// of its Service, and those behind it, unless these may not be listed.
func TestAddressesOf(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.168.0.2", "no address"}}, {Addresses: []string{"fd00::2"}}},
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}, {}},
	}
	other := slice.DeepCopy()
	other.Name, other.Labels = "other", map[string]string{discoveryv1.LabelServiceName: "other"}
	elsewhere := slice.DeepCopy()
	elsewhere.Namespace = "ci"
	failing := func(err error) interceptor.Funcs {
		return interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err }}
	}
	errBroken := errors.New("the server is down")
	names := []string{"10.0.0.1:0", "10.96.0.1:0"}
	for name, tt := range map[string]struct {
		funcs interceptor.Funcs
		want  []string
		err   error
	}{
		"all":                    {interceptor.Funcs{}, append(names[:2:2], "192.168.0.2:6443", "[fd00::2]:6443"), nil},
		"they may not be listed": {failing(apierrors.NewForbidden(schema.GroupResource{}, "", nil)), names, nil},
		"they cannot be listed":  {failing(errBroken), nil, errBroken},
	} {
		c := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(slice, other, elsewhere).WithInterceptorFuncs(tt.funcs).Build()
		got, err := addressesOf(t.Context(), "https://10.0.0.1:6443", c)
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if !errors.Is(err, tt.err) || !slices.Equal(texts, tt.want) {
			t.Errorf("%s: %v, %v", name, texts, err)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	c := fake.NewClientBuilder().WithScheme(newScheme()).Build()
	if got, err := addressesOf(t.Context(), "::ffff:10.0.0.1", c); err != nil || len(got) != 1 || got[0] != netip.MustParseAddrPort("10.0.0.1:0") {
		t.Errorf("without a Service: %v, %v", got, err)
	}
	if got, err := addressesOf(t.Context(), "no.such.name.invalid", c); err == nil || !strings.HasPrefix(err.Error(), "look up the address of the API server: ") {
		t.Errorf("an unknown name: %v, %v", got, err)
	}
}

// TestHostOf holds what of a client configuration is the host.
func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.example.com:6443": "api.example.com", "https://[fd00::1]:6443/x": "fd00::1", "https://10.0.0.1": "10.0.0.1",
		"api.example.com:6443": "api.example.com", "10.0.0.1:6443": "10.0.0.1", "[fd00::1]:6443": "fd00::1", "api.example.com": "api.example.com", "": "",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// noMatch has no kind.
type noMatch struct{ meta.RESTMapper }

func (noMatch) RESTMapping(kind schema.GroupKind, _ ...string) (*meta.RESTMapping, error) {
	return nil, &meta.NoKindMatchError{GroupKind: kind}
}

// TestWithSnapshots holds that VolumeSnapshots have a mapping where they are not served,
// and no other kind has one.
func TestWithSnapshots(t *testing.T) {
	m := withSnapshots{noMatch{}}
	got, err := m.RESTMapping(schema.GroupKind{Group: snapshotv1.GroupName, Kind: "VolumeSnapshot"}, "v1")
	if err != nil || got.Resource.Resource != "volumesnapshots" || got.Resource.Group != snapshotv1.GroupName || got.GroupVersionKind.Kind != "VolumeSnapshot" || got.Scope != meta.RESTScopeNamespace {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := m.RESTMapping(schema.GroupKind{Kind: "Pod"}, "v1"); !meta.IsNoMatchError(err) {
		t.Errorf("another kind: %v", err)
	}
	served := meta.NewDefaultRESTMapper(nil)
	served.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	if got, err := (withSnapshots{served}).RESTMapping(schema.GroupKind{Kind: "Pod"}, "v1"); err != nil || got.Resource.Resource != "pods" {
		t.Errorf("a kind that is served: %+v, %v", got, err)
	}
}
