package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Options are what a driver is started with.
type Options struct {
	// Name is the driver's name.
	Name string
	// Node is the name of the node it runs on.
	Node string
	// Zone is the zone of the node, if the pool serves several nodes: then volumes are
	// attached to one before it mounts them.
	Zone string
	// Pool is the folder for images, on a file system that can share extents.
	Pool string
	// Devices is a folder for loop device nodes, which may be lost at any time.
	Devices string
	// Socket is where the driver listens.
	Socket string
	// Registration is a socket in the kubelet's plugins_registry folder.
	Registration string
	// Faults is the file that package faults describes.
	Faults string
	// Log records every change.
	Log *slog.Logger
}

// Driver serves all three CSI services.
type Driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer

	options    Options
	pool       pool
	loops      loops
	faults     *injector
	operations *operations
	log        *slog.Logger
	// format makes an image; unit tests need no file system in it.
	format func(ctx context.Context, file string, size int64) error

	// changing is held while images and records change; never during a delay.
	changing sync.Mutex
}

// New prepares a driver.
func New(o Options) (*Driver, error) {
	p, err := newPool(o.Pool)
	if err != nil {
		return nil, err
	}
	return &Driver{
		options: o, pool: p, loops: loops{dir: o.Devices},
		faults: newInjector(o.Faults), operations: newOperations(), log: o.Log, format: format,
	}, nil
}

// Run serves until the context is done.
func (d *Driver) Run(ctx context.Context) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(d.logErrors))
	csi.RegisterIdentityServer(server, d)
	csi.RegisterControllerServer(server, d)
	csi.RegisterNodeServer(server, d)

	kubelet := grpc.NewServer()
	registration.RegisterRegistrationServer(kubelet, &registrar{driver: d})

	group, ctx := errgroup.WithContext(ctx)
	// The kubelet calls the driver as soon as it finds the registration socket.
	serve(ctx, group, server, d.options.Socket)
	serve(ctx, group, kubelet, d.options.Registration)
	return group.Wait()
}

func serve(ctx context.Context, group *errgroup.Group, server *grpc.Server, socket string) {
	group.Go(func() error {
		listener, err := listen(ctx, socket)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, server.Stop)
		defer stop()
		return server.Serve(listener)
	})
}

func listen(ctx context.Context, socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var config net.ListenConfig
	return config.Listen(ctx, "unix", socket)
}

func (d *Driver) logErrors(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	if err != nil {
		d.log.Error("request failed", "method", info.FullMethod, "error", err)
	}
	return resp, asStatus(err)
}

// asStatus gives an error of ours a gRPC code.
func asStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, errNotFound) {
		return status.Error(codes.NotFound, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

// shared reports whether the pool serves several nodes.
func (d *Driver) shared() bool { return d.options.Zone != "" }

// nodeKey and zoneKey are the topology keys.
func (d *Driver) nodeKey() string { return d.options.Name + "/node" }
func (d *Driver) zoneKey() string { return d.options.Name + "/zone" }

// topology is where this node is, which without others is where all volumes are.
func (d *Driver) topology() *csi.Topology {
	segments := map[string]string{d.nodeKey(): d.options.Node}
	if d.shared() {
		segments[d.zoneKey()] = d.options.Zone
	}
	return &csi.Topology{Segments: segments}
}

func invalid(format string, args ...any) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf(format, args...))
}
