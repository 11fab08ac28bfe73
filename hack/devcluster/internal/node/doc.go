// Package node is the inside of a cluster: what runs in the node's own mount,
// network, process, IPC, and host name namespaces.
//
// Process 1 (Init) gives the node its own file systems and network, starts the
// supervisor, and reaps orphans. The supervisor (Supervise) starts the
// components in the order in which they need each other, starts them again when
// they end, and answers on the control socket. When process 1 is killed the
// kernel ends every process, mount, and interface of the node with it, so
// nothing here cleans up.
package node
