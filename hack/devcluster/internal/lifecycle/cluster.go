package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/filelock"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

// Manager works on one cluster of this machine.
type Manager struct {
	// Spec is what was asked for; unset fields are derived or picked.
	Spec cluster.Spec
	// Indexed is set if Spec.Index was asked for, and is not just zero.
	Indexed bool
	// Store builds programs.
	Store *binaries.Store
	// Images keeps image archives.
	Images image.Cache
	// Reporter shows the progress.
	Reporter *progress.Reporter
}

// lockDir is for locks that concern the whole machine. It is empty after a boot,
// as is everything else that they protect.
const lockDir = "/run/lock/gocache-devcluster"

// lock keeps two commands from changing one cluster at once.
func (m *Manager) lock(ctx context.Context) (*filelock.Lock, error) {
	name := fmt.Sprintf("%x.lock", m.stateDir())
	return filelock.Exclusive(ctx, filepath.Join(lockDir, name), func() {
		m.Reporter.Print("another command works on cluster %s; waiting for it", m.Spec.Name)
	})
}

func (m *Manager) stateDir() string { return m.Spec.WithDefaults().StateDir }

// Record returns what is known about the cluster; fs.ErrNotExist means that
// there is none.
func (m *Manager) Record() (cluster.Record, error) { return cluster.Load(m.stateDir()) }

// running returns the record of a cluster that runs, or an error that names the command to run.
func (m *Manager) running() (cluster.Record, error) {
	record, err := m.Record()
	if os.IsNotExist(err) {
		return record, fmt.Errorf("there is no cluster %q: run devcluster up", m.Spec.WithDefaults().Name)
	}
	if err != nil {
		return record, err
	}
	if !record.Init.Alive() {
		return record, fmt.Errorf("cluster %q is not running any more: run devcluster up", record.Name)
	}
	return record, nil
}
