package pushes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/net/netutil"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// maxConnections at once; further ones wait.
	maxConnections = 256
	// maxPerAddress of them from one address; further ones are closed.
	maxPerAddress = 64
	// maxHeader is the size of the headers of a request, in bytes.
	maxHeader = 16 << 10
	// readTimeout of a whole request, and of its headers.
	readTimeout, headerTimeout = 15 * time.Second, 5 * time.Second
)

// Server serves a Receiver in the replica that leads: it alone has the hooks.
// The others do not listen.
type Server struct {
	// Address to listen at; "0": none.
	Address string
	// CertDir holds tls.crt and tls.key, which are read again when they change;
	// empty: plain http.
	CertDir string
	// Receiver of the requests.
	Receiver http.Handler
}

// Bind declares the flags of the server.
func (s *Server) Bind(f *pflag.FlagSet) {
	f.StringVar(&s.Address, "push-bind-address", "0",
		"address that receives push webhooks of git servers, such as :9445; 0 receives none")
	f.StringVar(&s.CertDir, "push-cert-dir", "",
		"directory with tls.crt and tls.key for push webhooks (default: plain http, for an Ingress or Gateway that terminates TLS)")
}

// AddTo adds the server to a manager, and returns its Receiver; nil: there is no
// address.
func (s *Server) AddTo(mgr manager.Manager, clock func() time.Time) (*Receiver, error) {
	if s.Address == "" || s.Address == "0" {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	receiver := New(clock)
	s.Receiver = receiver
	if err := mgr.Add(s); err != nil {
		return nil, fmt.Errorf("add the receiver of push webhooks: %w", err)
	}
	return receiver, nil
}

// NeedLeaderElection is true.
func (s *Server) NeedLeaderElection() bool { return true }

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("receive push webhooks: %w", err)
	}
	listener = netutil.LimitListener(newSenders(listener), maxConnections)
	if s.CertDir != "" {
		watcher, err := certwatcher.New(filepath.Join(s.CertDir, "tls.crt"), filepath.Join(s.CertDir, "tls.key"))
		if err != nil {
			_ = listener.Close()
			return fmt.Errorf("read the certificate for push webhooks: %w", err)
		}
		watching, stop := context.WithCancel(ctx)
		defer stop()
		go func() { _ = watcher.Start(watching) }() // ends without an error that matters: the certificate stays
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: watcher.GetCertificate, MinVersion: tls.VersionTLS12})
	}
	return (&manager.Server{
		Name: "push-webhooks", Listener: listener, ShutdownTimeout: ptr.To(readTimeout),
		Server: &http.Server{
			Handler: s.Receiver, MaxHeaderBytes: maxHeader,
			ReadTimeout: readTimeout, ReadHeaderTimeout: headerTimeout, WriteTimeout: 2 * readTimeout, IdleTimeout: readTimeout,
		},
	}).Start(ctx)
}
