package route

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/internal/router/certificate"
)

// State is what a server may be used for.
type State string

const (
	// Ready servers share the clients by their weights.
	Ready State = "ready"
	// Drain gets nothing new while a Ready server works. A backend that can
	// may use it before it lets a client see an error.
	Drain State = "drain"
	// Down gets nothing in any case, and loses what is under way.
	Down State = "down"
)

// Server is the intent for one instance.
type Server struct {
	Name  string
	State State
	// Weight is its share, 1 to 256, when Ready, and 0 otherwise.
	Weight int
}

// Limits are what a backend cannot do by itself. Its caller has to, or the
// documentation warns users.
type Limits struct {
	// OneAtATime: of all servers at most one may be Ready.
	OneAtATime bool
	// CallerHeals: it does not leave dead or hung servers by itself, uses no
	// drained server as a last resort, has no standby, and reports that no
	// instance is left in its own words or by refusing connections.
	CallerHeals bool
	// Spread is how long new connections may still go where they went before
	// after Observe has confirmed an intent, because something beyond the
	// backend's sight has to follow.
	Spread time.Duration
}

// Instance is a server as a backend reaches it.
type Instance struct {
	Name string
	// Address is host:port of its Service; empty while it is unknown.
	Address string
	// External is the URL of an instance that the operator does not run, in
	// place of Address and Service.
	External string
	// Service and Port that lead to it.
	Service string
	Port    int32
	// CheckPort is where its health is checked, at the host of Address; 0: at
	// Address itself.
	CheckPort int32
	// Standby serves only when no other instance can.
	Standby bool
}

// Address is where clients go.
type Address struct {
	// URL of the router; empty: there is none yet.
	URL string
	// GOPROXY is the value that clients use: URL, as often as it is worth to ask
	// again.
	GOPROXY string
}

// Ensured is how far a backend's objects are.
type Ensured struct {
	// Waits is what is needed before they can be made; empty: nothing.
	Waits string
	// Settled: every replica runs with what was ensured. An instance that is not
	// in it any more may be removed.
	Settled bool
}

// Certificate is the report of one replica on its certificate.
type Certificate struct {
	Replica string
	// Unreachable is why it could not be asked; the rest is empty then.
	Unreachable string
	certificate.Report
}

// Router is a backend. It owns its objects: it makes, changes and removes them,
// and no others. All belong to the object that the router is for.
type Router interface {
	// Limits of the backend.
	Limits() Limits
	// URL is where clients go.
	URL(ctx context.Context) (Address, error)
	// Ensure makes the objects that do not depend on the intent, and removes
	// those that are needed no longer. Repeating it writes nothing.
	Ensure(ctx context.Context) (Ensured, error)
	// Remove deletes all objects of the backend. Repeating it is no error.
	Remove(ctx context.Context) error
	// Set makes servers the whole intent. Repeating it writes nothing.
	Set(ctx context.Context, servers []Server) error
	// Observe reads what the replicas that take clients do now. A replica
	// that cannot be read is part of the answer; the error is for the case
	// that it is not even known which there are.
	Observe(ctx context.Context) (Observation, error)
}

// Observation is the reports of all replicas of a router.
type Observation struct {
	Replicas []Replica
}

// Replica is the report of one of them.
type Replica struct {
	Name string
	// Problem is why it could not be read; Servers is empty then.
	Problem string
	Servers map[string]Observed
}

// Observed is what a replica does with one server.
type Observed struct {
	State  State
	Weight int
	// Healthy is the replica's own opinion, whatever the intent is.
	Healthy bool
}

// Confirms reports whether every replica has the desired state, and if not, the
// first difference. No replica confirms nothing. A server that the replica
// itself holds for dead is no difference: the intent has arrived.
func (o Observation) Confirms(want []Server) (ok bool, difference string) {
	if len(o.Replicas) == 0 {
		return false, "no replica of the router is ready"
	}
	for _, replica := range o.Replicas {
		if replica.Problem != "" {
			return false, fmt.Sprintf("%s: %s", replica.Name, replica.Problem)
		}
		if difference := replica.difference(want); difference != "" {
			return false, fmt.Sprintf("%s: %s", replica.Name, difference)
		}
	}
	return true, ""
}

func (r Replica) difference(want []Server) string {
	for _, server := range want {
		got, known := r.Servers[server.Name]
		switch {
		case !known:
			return fmt.Sprintf("%s is not configured", server.Name)
		case got.State != server.State:
			return fmt.Sprintf("%s is %s, want %s", server.Name, got.State, server.State)
		case server.State == Ready && got.Weight != server.Weight:
			return fmt.Sprintf("%s has weight %d, want %d", server.Name, got.Weight, server.Weight)
		}
	}
	return ""
}

// Unhealthy lists the servers that at least one replica holds for dead.
func (o Observation) Unhealthy() map[string][]string {
	servers := map[string][]string{}
	for _, replica := range o.Replicas {
		for name, observed := range replica.Servers {
			if !observed.Healthy && observed.State != Down {
				servers[name] = append(servers[name], replica.Name)
			}
		}
	}
	return servers
}

// String is for logs and events.
func (s Server) String() string {
	if s.State == Ready {
		return fmt.Sprintf("%s %d", s.Name, s.Weight)
	}
	return strings.Join([]string{s.Name, string(s.State)}, " ")
}
