package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

func newUp(o *options) *cobra.Command {
	size := sizeFlag(cluster.DefaultPoolSize)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, building its programs if necessary, and wait until it is usable",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.spec.PoolSize = int64(size)
			reporter := progress.New(os.Stderr)
			m, err := o.manager(reporter)
			if err != nil {
				return err
			}
			record, err := m.Up(cmd.Context())
			if err != nil {
				return err
			}
			reporter.Stage("cluster %s is usable", record.Name)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG=%s\n", record.Paths().Kubeconfig("admin"))
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.index, "index", -1, fmt.Sprintf("which default networks to use, 0 to %d (default: the first that is free)", cluster.MaxIndex))
	flags.Var(prefixFlag{&o.spec.NodeCIDR}, "node-cidr", "network between the machine (first address) and the node (second)")
	flags.Var(prefixFlag{&o.spec.PodCIDR}, "pod-cidr", "network of pods")
	flags.Var(prefixFlag{&o.spec.ServiceCIDR}, "service-cidr", "network of Services")
	flags.Var(&size, "pool-size", "size of the sparse file that backs all volumes")
	flags.IntVar(&o.spec.Nodes, "nodes", 0, fmt.Sprintf("number of nodes, 1 to %d; the first runs the control plane too (default 1)", cluster.MaxNodes))
	flags.StringArrayVar(&o.spec.APIServerArgs, "apiserver-arg", nil, "further argument of kube-apiserver (repeatable)")
	return cmd
}

// sizeFlag is a number of bytes, written with a binary unit.
type sizeFlag int64

var units = []struct {
	suffix string
	bytes  int64
}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"", 1}}

func (s *sizeFlag) String() string {
	for _, u := range units {
		if int64(*s)%u.bytes == 0 {
			return strconv.FormatInt(int64(*s)/u.bytes, 10) + u.suffix
		}
	}
	return ""
}

// Set accepts 20Gi, and 20G for the same: the difference does not matter here.
func (s *sizeFlag) Set(v string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.bytes {
			return fmt.Errorf("size %q: want a positive number with Mi, Gi or Ti", v)
		}
		*s = sizeFlag(n * u.bytes)
		return nil
	}
	return nil
}

func (s *sizeFlag) Type() string { return "size" }
