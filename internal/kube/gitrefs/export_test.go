package gitrefs

// Known is how many refs something is known of.
func (p *Poller) Known() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refs)
}

// Held is how many bytes the look-ups of a namespace hold.
func (p *Poller) Held(namespace string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[namespace]
}

// MaxHeld and MaxKnown are the bounds of a namespace.
const (
	MaxHeld  = maxHeld
	MaxKnown = maxKnown
)
