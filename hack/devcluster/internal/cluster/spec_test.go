package cluster

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultsOfDifferentIndexesDoNotOverlap(t *testing.T) {
	t.Parallel()
	var all []netip.Prefix
	links := map[string]bool{}
	for i := range MaxIndex + 1 {
		spec := Spec{Index: i}.WithDefaults()
		if err := spec.Validate(); err != nil {
			t.Errorf("index %d: %v", i, err)
		}
		for _, n := range spec.Networks() {
			for _, other := range all {
				if n.Overlaps(other) {
					t.Errorf("index %d: %s overlaps %s", i, n, other)
				}
			}
			all = append(all, n)
		}
		if links[spec.Link()] || len(spec.Link()) > 15 {
			t.Errorf("index %d: link %q is taken or too long", i, spec.Link())
		}
		links[spec.Link()] = true
	}
}

func TestAddressesAreDerived(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "ci", Index: 2, PodCIDR: netip.MustParsePrefix("10.9.0.0/16")}.WithDefaults()
	for got, want := range map[string]string{
		spec.HostIP().String():       "10.222.2.1",
		spec.NodeIP().String():       "10.222.2.2",
		spec.APIServiceIP().String(): "10.224.32.1",
		spec.DNSIP().String():        "10.224.32.10",
		spec.PodCIDR.String():        "10.9.0.0/16",
		spec.Server():                "https://10.222.2.2:6443",
		spec.StateDir:                "/var/tmp/gocache-devcluster/ci",
		spec.NodeName():              "ci-node",
		spec.Cgroup():                "gocache-dev-ci",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spec Spec
		want string
	}{
		"defaults":            {Spec{}, ""},
		"name with a slash":   {Spec{Name: "a/b"}, "name"},
		"name too long":       {Spec{Name: strings.Repeat("a", 31)}, "name"},
		"index too large":     {Spec{Index: MaxIndex + 1}, "index"},
		"relative state dir":  {Spec{StateDir: "x"}, "absolute"},
		"hidden state dir":    {Spec{StateDir: "/run/x"}, "/run is replaced"},
		"state dir too long":  {Spec{StateDir: "/" + strings.Repeat("a", maxStateDirLength)}, "sockets"},
		"host bits":           {Spec{PodCIDR: netip.MustParsePrefix("10.1.1.1/24")}, "pod CIDR"},
		"pod network small":   {Spec{PodCIDR: netip.MustParsePrefix("10.1.1.0/28")}, "pod CIDR"},
		"networks overlap":    {Spec{PodCIDR: netip.MustParsePrefix("10.222.0.0/16")}, "overlaps"},
		"IPv6":                {Spec{NodeCIDR: netip.MustParsePrefix("fd00::/64")}, "IPv4"},
		"pool of a few bytes": {Spec{PoolSize: 1}, "pool size"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.spec.WithDefaults().Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestSocketsFitBelowTheLongestStateDir(t *testing.T) {
	t.Parallel()
	const maxSocketPath = 107
	spec := Spec{StateDir: "/" + strings.Repeat("a", maxStateDirLength-1)}.WithDefaults()
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	p := spec.Paths()
	for _, socket := range []string{
		p.Control(), p.CSISocket(), p.CSIRegistration(), p.ContainerdSocket() + ".ttrpc",
		filepath.Join(p.Kubelet(), "pod-resources", "kubelet.sock"),
	} {
		if len(socket) > maxSocketPath {
			t.Errorf("%s: %d bytes", socket, len(socket))
		}
	}
	if longest := (Spec{Name: strings.Repeat("a", maxNameLength)}).WithDefaults(); longest.Validate() != nil {
		t.Errorf("the longest name makes a state directory that is too long: %v", longest.Validate())
	}
}

func TestEveryPathIsBelowTheStateDir(t *testing.T) {
	t.Parallel()
	spec := Spec{StateDir: "/somewhere/else"}.WithDefaults()
	p := spec.Paths()
	for _, path := range []string{
		p.Record(), p.PKI(), p.Certificate("x"), p.Key("x"), p.Kubeconfig("x"), p.Config(), p.CNI(), p.Logs(), p.Log("x"),
		p.PodLogs(), p.Etcd(), p.Containerd(), p.ContainerdSocket(), p.Control(), p.Executable(), p.Kubelet(), p.KubeCache(),
		p.PoolImage(), p.Pool(), p.Faults(), p.CSISocket(), p.CSIRegistration(),
	} {
		if !strings.HasPrefix(path, spec.StateDir+"/") {
			t.Errorf("%s is not below %s", path, spec.StateDir)
		}
	}
}
