package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/test/scenario"
)

// TestPrivateModules has a build get a module from a private git repository through
// a ModProxy, without git and credentials of its own, and again when its tag was
// moved and the repository is gone.
func TestPrivateModules(t *testing.T) {
	t.Parallel()
	namespace := fmt.Sprintf("e2e-private-%x", time.Now().Unix()&0xfffff)
	s := inOwn(t, namespace, func() (*scenario.Scenario, error) {
		return suite.cluster.BeginEmpty(suite.ctx, namespace, suite.narrator)
	})
	if s.HostIP == "" {
		s.Skip("pods of this cluster do not reach a repository on this machine")
	}
	host := "git." + s.Namespace + ".svc"
	lib := host + "/team/lib"
	repository, err := gitserver.New(s.ctx, s.TempDir())
	s.must(err)
	push := func(text string) {
		s.Helper()
		_, err := repository.Commit(s.ctx, map[string]string{
			"go.mod": "module " + lib + "\n\ngo 1.21\n", "lib.go": "package lib\n\n// Text of it.\nconst Text = \"" + text + "\"\n",
		})
		s.must(err)
		for _, args := range [][]string{{"tag", "--force", "v1.0.0"}, {"push", "--quiet", "--force", "origin", "refs/tags/v1.0.0"}} {
			_, err = repository.InWork(s.ctx, args...)
			s.must(err)
		}
	}
	push("the first")
	ca, stop := s.serveModule(repository, host, lib)

	s.must(s.Client.Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "private-git", Annotations: map[string]string{v1alpha1.HostsAnnotation: host}},
		StringData: map[string]string{"username": "ci", "password": "correct horse", "ca.crt": string(ca)},
	}))
	proxy := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: scenario.Proxy}}
	for _, name := range []string{"blue", "green"} {
		proxy.Spec.Instances = append(proxy.Spec.Instances, v1alpha1.ProxyInstance{
			Name: name, Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("512Mi"), DeletionPolicy: v1alpha1.DeletionDelete},
		})
	}
	proxy.Spec.Upstream = &v1alpha1.ProxyUpstream{Proxy: s.UpstreamURL()}
	proxy.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{
		PrivateModules: v1alpha1.PrivateModules{Patterns: []string{host}},
		VersionControl: &v1alpha1.ProxyVersionControl{SecretRef: &v1alpha1.LocalReference{Name: "private-git"}},
	}
	s.must(s.Client.Create(s.ctx, proxy))
	ready, err := s.ProxyReady(s.ctx)
	s.must(err)
	vars := map[string]string{"GOPROXY": ready.Status.GOPROXY, "GONOPROXY": "none", "GONOSUMDB": host, "GOFLAGS": "-modcacherw"}
	files := map[string]string{
		"go.mod":  "module main.test\n\ngo 1.21\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"" + lib + "\"\n)\n\nfunc main() { fmt.Println(\"it is\", lib.Text) }\n",
	}
	run := func(name string) {
		s.Helper()
		began := time.Now()
		out, err := s.RunModule(s.ctx, name, files, vars, lib+"@v1.0.0")
		s.must(err)
		if !strings.Contains(out, "it is the first") {
			s.Errorf("%s printed:\n%s", name, out)
		}
		s.Logf("%s took %s", name, time.Since(began).Round(time.Second))
	}
	run("from-repository")
	push("another")
	run("after-the-tag-moved")
	stop()
	run("without-repository")
}

// serveModule serves a repository from this machine at a name in the cluster, with
// a page that leads from a module to it, to the user ci. ca is the authority of its
// certificate. stop ends it.
func (s *fixture) serveModule(r *gitserver.Repository, host, modulePath string) (ca []byte, stop func()) {
	s.Helper()
	certificate, ca, err := gitserver.Certificate(host)
	s.must(err)
	files, err := r.Handler(s.ctx, "ci", "correct horse")
	s.must(err)
	listener, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", net.JoinHostPort(s.HostIP, "0"))
	s.must(err)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Get("go-get") == "1" {
				fmt.Fprintf(w, `<meta name="go-import" content="%s git https://%s/program.git">`, modulePath, host)
				return
			}
			files.ServeHTTP(w, req)
		}),
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	s.Cleanup(func() { _ = server.Close() })
	port := int32(listener.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	s.must(s.Client.Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "git"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}))
	s.must(s.Client.Create(s.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: s.Namespace, Name: "git", Labels: map[string]string{discoveryv1.LabelServiceName: "git"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{s.HostIP}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(port), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}))
	return ca, func() { _ = server.Close() }
}
