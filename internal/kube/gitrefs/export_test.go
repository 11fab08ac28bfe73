package gitrefs

// Known is how many refs something is known of.
func (p *Poller) Known() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refs)
}
