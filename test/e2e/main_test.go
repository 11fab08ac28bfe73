package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"gocache.dev/operator/test/scenario"
)

const (
	// clusterName of the local cluster, if CLUSTER_NAME is not set.
	clusterName = "gocache-e2e"
	// fullNamespace has all samples, smallNamespace the small cache.
	fullNamespace  = "e2e-whole"
	smallNamespace = "e2e-small"
	// cleanUpTime is kept from the time that go test gives, to leave nothing
	// behind.
	cleanUpTime = 90 * time.Second
)

// suite is what all tests share.
var suite struct {
	// ctx ends when the process gets a signal, or its time is nearly up.
	ctx      context.Context
	narrator *scenario.Narrator
	cluster  *scenario.Cluster
	// full and small are begun once.
	full, small func() (*scenario.Scenario, error)
	// prometheus is started by the first test that asks it.
	prometheus func() (*scenario.Prometheus, error)
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("e2e: no cluster with -short")
		return
	}
	os.Exit(run(m))
}

// run prepares the cluster, runs the tests, and removes what was made, however
// they end.
func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if limit := timeLimit(); limit > 2*cleanUpTime {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit-cleanUpTime)
		defer cancel()
	}
	options := scenario.Options{Kind: os.Getenv("CLUSTER"), Name: clusterName}
	if name := os.Getenv("CLUSTER_NAME"); name != "" {
		options.Name = name
	}
	if text := os.Getenv(nodesVariable); text != "" {
		nodes, err := strconv.Atoi(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %s=%s: %v\n", nodesVariable, text, err)
			return 1
		}
		options.Nodes = nodes
	}
	suite.ctx, suite.narrator = ctx, scenario.NewNarrator(os.Stdout)
	defer func() {
		if err := remove(options); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: clean up:", err)
			code = 1
		}
	}()
	if err := prepare(options); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: set up:", err)
		return 1
	}
	return m.Run()
}

// prepare starts the cluster, and both caches: the large one warms while other
// tests go on.
func prepare(options scenario.Options) (err error) {
	if suite.cluster, err = scenario.Prepare(suite.ctx, options, suite.narrator); err != nil {
		return err
	}
	suite.full = sync.OnceValues(func() (*scenario.Scenario, error) {
		return suite.cluster.Begin(suite.ctx, fullNamespace, suite.narrator)
	})
	suite.small = sync.OnceValues(func() (*scenario.Scenario, error) {
		return suite.cluster.BeginSmall(suite.ctx, smallNamespace, suite.narrator)
	})
	suite.prometheus = sync.OnceValues(func() (*scenario.Prometheus, error) {
		return suite.cluster.StartPrometheus(suite.ctx)
	})
	if os.Getenv(roundsVariable) != "" || os.Getenv(compilerVariable) != "" {
		return nil // these tests have a cache of their own
	}
	_, full := suite.full()
	_, small := suite.small()
	return errors.Join(full, small)
}

// remove takes everything away. It does not heed the signal that may have
// ended the tests: that is when it is needed most.
func remove(options scenario.Options) error {
	if os.Getenv("E2E_KEEP") == "1" {
		return nil
	}
	suite.narrator.Print("Removing what was made")
	ctx, cancel := context.WithTimeout(context.Background(), cleanUpTime)
	defer cancel()
	return scenario.Remove(ctx, options, suite.narrator, fullNamespace, smallNamespace, scenario.MonitoringNamespace)
}

// timeLimit is the -timeout of go test.
func timeLimit() time.Duration {
	if f := flag.Lookup("test.timeout"); f != nil {
		if d, ok := f.Value.(flag.Getter).Get().(time.Duration); ok {
			return d
		}
	}
	return 0
}
