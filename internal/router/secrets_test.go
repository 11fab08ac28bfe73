package router

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"gocache.dev/operator/internal/router/certificate"
)

// runningHAProxy has the commands of HAProxy's socket that the sidecar needs. What
// was set counts when it is committed.
type runningHAProxy struct {
	mu          sync.Mutex
	fingerprint string
	set         string // not committed yet
	digests     []string
	version     []string // not committed yet
	refuses     string   // the commands that begin so
	commands    []string
}

// listens makes it run, at a socket.
func (h *runningHAProxy) listens(t *testing.T, socket string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			_, _ = io.WriteString(conn, h.answer(bufio.NewReader(conn)))
			_ = conn.Close()
		}
	}()
}

func (h *runningHAProxy) answer(in *bufio.Reader) string {
	line, err := in.ReadString('\n')
	if err != nil {
		return "Unknown command"
	}
	command, payload := strings.TrimSpace(line), ""
	if strings.HasSuffix(command, "<<") {
		for !strings.HasSuffix(payload, "\n\n") {
			more, err := in.ReadString('\n')
			if err != nil {
				return "Unknown command"
			}
			payload += more
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commands = append(h.commands, strings.Join(strings.Fields(command)[:3], " "))
	fields := strings.Fields(command)
	switch verb := strings.Join(fields[:2], " "); {
	case h.refuses != "" && strings.HasPrefix(command, h.refuses):
		return "Can't do that"
	case verb == "show ssl":
		return "Status: Used\nSHA1 FingerPrint: " + h.fingerprint + "\n"
	case verb == "set ssl":
		p, err := certificate.Parse([]byte(payload), []byte(payload), time.Now())
		if err != nil {
			return "unable to load the certificate"
		}
		h.set = p.Fingerprint
		return "Transaction created for certificate\n"
	case verb == "commit ssl":
		h.fingerprint = h.set
		return "Committing.\nSuccess!\n"
	case verb == "show acl":
		text := ""
		for i, d := range h.digests {
			text += fmt.Sprintf("0x%d %s\n", i, d)
		}
		return text
	case verb == "prepare acl":
		h.version = nil
		return "New version created: 7\n"
	case verb == "add acl" && fields[2] == "@7":
		h.version = append(h.version, fields[4])
		return "\n"
	case verb == "commit acl" && fields[2] == "@7":
		h.digests = h.version
		return "\n"
	}
	return "Unknown command"
}

// pair is a new certificate of a name, and its key.
func pair(t *testing.T, name string, until time.Time) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// mount writes the keys of a Secret, as the kubelet does; no content: it has no such
// key.
func mount(t *testing.T, dir string, keys map[string][]byte) {
	t.Helper()
	for name, content := range keys {
		err := os.RemoveAll(filepath.Join(dir, name))
		if err == nil && content != nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificates holds how the pair of a Secret reaches HAProxy: by the file before
// it runs, by its socket while it does, and only once. What is wrong is reported
// beside what is served, and never replaces it.
func TestCertificates(t *testing.T) {
	t.Parallel()
	dir, secret := t.TempDir(), t.TempDir()
	c := &certificates{
		options: CertificateOptions{Directory: secret, File: filepath.Join(dir, "tls.pem"), Socket: filepath.Join(dir, "s"), Host: "proxy.test"},
		metrics: newMetrics(), now: time.Now, log: testr.NewWithOptions(t, testr.Options{Verbosity: -1}),
	}
	report := func() (certificate.Report, int) {
		t.Helper()
		c.bring(t.Context())
		w := httptest.NewRecorder()
		if c.page(w, httptest.NewRequest(http.MethodGet, certificate.Path, http.NoBody)); w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%v", w.Header())
		}
		return c.report, w.Code
	}
	if got, status := report(); !strings.Contains(got.Problem, "does not exist") || status != http.StatusServiceUnavailable {
		t.Errorf("no Secret: %+v, status %d", got, status)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	chain, key := pair(t, "proxy.test", until)
	mount(t, secret, map[string][]byte{"tls.crt": chain})
	if got, _ := report(); !strings.Contains(got.Problem, "tls.key") {
		t.Errorf("no key: %+v", got)
	}
	mount(t, secret, map[string][]byte{"tls.key": key})
	got, status := report()
	first := got.Fingerprint
	if got.Problem != "" || first == "" || got.NameMismatch != "" || !got.NotAfter.Equal(until) || status != http.StatusOK {
		t.Errorf("HAProxy has not started: %+v, status %d", got, status)
	}
	stored, err := os.ReadFile(c.options.File)
	if err != nil || !strings.Contains(string(stored), string(chain)) || !strings.Contains(string(stored), string(key)) {
		t.Errorf("what HAProxy reads at its start: %v\n%s", err, stored)
	}

	h := &runningHAProxy{}
	h.fingerprint = first
	h.listens(t, c.options.Socket)
	if got, _ := report(); got.Problem != "" || strings.Join(h.commands, ",") != "show ssl cert" {
		t.Errorf("it serves that already: %+v, %v", got, h.commands)
	}
	chain, key = pair(t, "other.test", until)
	mount(t, secret, map[string][]byte{"tls.crt": chain, "tls.key": key})
	h.refuses = "set ssl"
	if got, _ := report(); !strings.Contains(got.Problem, "Can't do that") || h.fingerprint != first || strings.Contains(got.Problem, "PRIVATE") {
		t.Errorf("it refuses the pair: %+v", got)
	}
	h.refuses = "commit ssl"
	if got, _ := report(); !strings.Contains(got.Problem, "Can't do that") || h.fingerprint != first {
		t.Errorf("it does not commit: %+v", got)
	}
	h.refuses = "show ssl"
	if got, _ := report(); !strings.Contains(got.Problem, "Can't do that") {
		t.Errorf("it does not show its own: %+v", got)
	}
	h.refuses = ""
	got, status = report()
	if got.Problem != "" || got.Fingerprint == first || h.fingerprint != got.Fingerprint || got.NameMismatch == "" || status != http.StatusOK {
		t.Errorf("another pair: %+v, HAProxy serves %s", got, h.fingerprint)
	}
	second := got.Fingerprint
	mount(t, secret, map[string][]byte{"tls.key": []byte("x")})
	if got, status := report(); got.Problem == "" || got.Fingerprint != second || h.fingerprint != second || status != http.StatusOK {
		t.Errorf("a key that is none: %+v, status %d", got, status)
	}
	// A file that cannot be written keeps HAProxy's own.
	mount(t, secret, map[string][]byte{"tls.crt": nil, "tls.key": nil})
	chain, key = pair(t, "proxy.test", until)
	mount(t, secret, map[string][]byte{"tls.crt": chain, "tls.key": key})
	if err := os.Mkdir(c.options.File+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if got, _ := report(); !strings.Contains(got.Problem, "write tls.pem for HAProxy") || got.Fingerprint != second {
		t.Errorf("a file that cannot be written: %+v", got)
	}
	if err := os.Remove(c.options.File + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.options.File); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.options.File, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, _ := report(); !strings.Contains(got.Problem, "write tls.pem for HAProxy") {
		t.Errorf("a file that cannot be replaced: %+v", got)
	}
}

// TestClients holds how the credentials of clients reach HAProxy: as a digest, in one
// step, and that it compares with no others afterwards. Without valid ones it serves no
// client, and with invalid ones those that were valid last.
func TestClients(t *testing.T) {
	t.Parallel()
	dir, secret := t.TempDir(), t.TempDir()
	c := &clients{
		options: ClientsOptions{Directory: secret, File: filepath.Join(dir, "clients"), Socket: filepath.Join(dir, "s")},
		now:     time.Now, log: testr.NewWithOptions(t, testr.Options{Verbosity: -1}),
	}
	bring := func() (problem, stored string) {
		t.Helper()
		c.bring(t.Context())
		text, err := os.ReadFile(c.options.File)
		if err != nil {
			t.Fatal(err)
		}
		return c.problem(), strings.TrimSpace(string(text))
	}
	if problem, stored := bring(); !strings.Contains(problem, "no key username") || stored != "" {
		t.Errorf("no Secret: %q, %q", problem, stored)
	}
	mount(t, secret, map[string][]byte{"username": []byte("ci"), "password": []byte("s3cret")})
	problem, first := bring()
	if problem != "" || len(first) != 64 || strings.Contains(first, "s3cret") {
		t.Errorf("before HAProxy starts: %q, %q", problem, first)
	}
	h := &runningHAProxy{digests: []string{first}}
	h.listens(t, c.options.Socket)
	if problem, _ := bring(); problem != "" || strings.Join(h.commands, ",") != "show acl "+c.options.File {
		t.Errorf("it has them already: %q, %v", problem, h.commands)
	}
	mount(t, secret, map[string][]byte{"password": []byte("other")})
	if problem, second := bring(); problem != "" || second == first || len(h.digests) != 1 || h.digests[0] != second {
		t.Errorf("other credentials: %q, HAProxy compares with %v, want %s alone", problem, h.digests, second)
	}
	h.digests = append(h.digests, first) // left by an earlier one
	if _, second := bring(); len(h.digests) != 1 || h.digests[0] != second {
		t.Errorf("earlier credentials are left: %v", h.digests)
	}
	_, last := bring()
	for name, keys := range map[string]map[string][]byte{
		"the Secret does not exist, may not be used, or has no key password: see condition Stalled of the ModProxy": {"password": nil},
		"the key password of the Secret is empty":         {"password": {}},
		"the key username of the Secret contains a colon": {"username": []byte("c:i"), "password": []byte("x")},
	} {
		mount(t, secret, keys)
		if problem, stored := bring(); problem != "" || stored != last || c.noted != name {
			t.Errorf("%s: %q, %q is stored, %q is logged", name, problem, stored, c.noted)
		}
		mount(t, secret, map[string][]byte{"username": []byte("ci"), "password": []byte("other")})
	}
	mount(t, secret, map[string][]byte{"password": []byte("third")})
	for _, refused := range []string{"prepare acl", "add acl", "commit acl"} {
		h.refuses = refused
		if bring(); len(h.digests) != 1 || h.digests[0] != last || !strings.Contains(c.noted, "HAProxy refuses") {
			t.Errorf("%s is refused: HAProxy compares with %v, want %s; %q is logged", refused, h.digests, last, c.noted)
		}
	}
	h.refuses = ""
	if problem, third := bring(); problem != "" || len(h.digests) != 1 || h.digests[0] != third || c.noted != "" {
		t.Errorf("after all: %q, %v, want %s; %q is logged", problem, h.digests, third, c.noted)
	}
}

// TestAddressInUse holds that a sidecar that cannot listen ends with an error: its
// container is restarted.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	if err := serve(t.Context(), address, http.NotFoundHandler(), time.Minute); err == nil || !strings.Contains(err.Error(), "listen on "+address) {
		t.Errorf("%v", err)
	}
}
