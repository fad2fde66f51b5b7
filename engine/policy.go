package engine

// publishPolicy closes the subnets of all networks to containers of the others.
func (e *Engine) publishPolicy() {
	subnets := e.ownSubnets()
	e.policy.Block(subnets)
	e.data.SetBlocked(subnets)
}
