package prereq

import (
	"errors"
	"strings"
	"testing"
)

func TestEverythingMissingIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "linux", UID: 1000, Find: func(name string) error {
		if name == "nft" || name == "mount" {
			return nil
		}
		return errors.New("missing")
	}}
	err := m.Check(Cluster...)
	if err == nil {
		t.Fatal("nothing is said")
	}
	const install = "apt-get install -y --no-install-recommends busybox-static containernetworking-plugins iptables runc xfsprogs"
	for _, want := range []string{"user id is 1000", install, "mkfs.xfs", "/usr/lib/cni/bridge"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "nftables") {
		t.Errorf("nft is there, but nftables is asked for:\n%v", err)
	}
}

func TestAMachineThatHasAllIsNotBothered(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "linux", UID: 0, Find: func(string) error { return nil }}
	if err := m.Check(Cluster...); err != nil {
		t.Error(err)
	}
}

func TestAnotherSystemIsToldSoAlone(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "darwin", UID: 0, Find: func(string) error { return errors.New("missing") }}
	err := m.Check(Cluster...)
	if err == nil || !strings.Contains(err.Error(), "needs Linux") || strings.Contains(err.Error(), "apt-get") {
		t.Errorf("got %v", err)
	}
}
