package status

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report is the state of objects, as JSON and YAML show it.
type Report struct {
	// Items are the caches and proxies, by namespace, kind and name.
	Items []Node `json:"items"`
	// Notes name what could not be read, and why.
	Notes []string `json:"notes,omitempty"`
}

// Level states how urgent a node is.
type Level string

// The levels, from the least to the most urgent.
const (
	// LevelOK needs no action.
	LevelOK Level = "OK"
	// LevelProgress is work in progress.
	LevelProgress Level = "Progress"
	// LevelWarning may need action.
	LevelWarning Level = "Warning"
	// LevelFailure needs action.
	LevelFailure Level = "Failure"
)

// Node is one object, or one instance of a proxy.
type Node struct {
	// Kind of the object, or Instance.
	Kind string `json:"kind"`
	// Namespace of the object; only at the top of a tree.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name"`
	// State in one word, such as Ready, Stalled, Intact or Bound.
	State string `json:"state"`
	// Level of the state.
	Level Level `json:"level"`
	// Since when the object has the state; for an object that never changes, its
	// creation.
	Since *metav1.Time `json:"since,omitempty"`
	// Message explains the state.
	Message string `json:"message,omitempty"`
	// Children belong to the object.
	Children []Node `json:"children,omitempty"`
}

// Row is one line of a table.
type Row struct {
	// Node without its children.
	Node Node
	// Branch is the part of a drawn tree in front of the name.
	Branch string
}

// Rows are the trees, line by line.
func (r Report) Rows() []Row {
	var rows []Row
	for _, item := range r.Items {
		rows = append(rows, Row{Node: item})
		rows = below(rows, item.Children, "")
	}
	return rows
}

func below(rows []Row, nodes []Node, indent string) []Row {
	for i, n := range nodes {
		branch, next := "├─ ", "│  "
		if i == len(nodes)-1 {
			branch, next = "└─ ", "   "
		}
		rows = append(rows, Row{Node: n, Branch: indent + branch})
		rows = below(rows, n.Children, indent+next)
	}
	return rows
}

// Worst is the most urgent level of all nodes.
func (r Report) Worst() Level {
	order := map[Level]int{LevelOK: 0, LevelProgress: 1, LevelWarning: 2, LevelFailure: 3}
	worst := LevelOK
	for _, row := range r.Rows() {
		if order[row.Node.Level] > order[worst] {
			worst = row.Node.Level
		}
	}
	return worst
}

func since(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}
