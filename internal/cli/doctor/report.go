package doctor

import "gocache.dev/operator/internal/cli/status"

// Report is the result of an examination.
type Report struct {
	// Sections in the order in which they were examined.
	Sections []Section `json:"sections"`
}

// Section holds the findings about one subject.
type Section struct {
	// Name of the subject, such as Cluster.
	Name string `json:"name"`
	// Findings about it.
	Findings []Finding `json:"findings"`
}

// Finding is the result of one check.
type Finding struct {
	// Level is OK, Warning or Failure.
	Level status.Level `json:"level"`
	// Message states what was found.
	Message string `json:"message"`
	// Fix is a command that corrects it, or shows more; empty for what is OK.
	Fix string `json:"fix,omitempty"`
}

// Failed reports whether a check failed.
func (r Report) Failed() bool {
	for _, s := range r.Sections {
		for _, f := range s.Findings {
			if f.Level == status.LevelFailure {
				return true
			}
		}
	}
	return false
}

func ok(message string) Finding { return Finding{Level: status.LevelOK, Message: message} }

func warning(message, fix string) Finding {
	return Finding{Level: status.LevelWarning, Message: message, Fix: fix}
}

func failure(message, fix string) Finding {
	return Finding{Level: status.LevelFailure, Message: message, Fix: fix}
}
