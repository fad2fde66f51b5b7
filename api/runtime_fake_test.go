package api

import "context"

// ContainerOfUserNS knows no container that lives anywhere, unless the test says so.
func (f *fake) ContainerOfUserNS(_ context.Context, id NamespaceID) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.livesIn[id], nil
}

func (f *fake) NamespacePassedFrom(_ context.Context, nameOrID string) (NamespaceID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passedFrom[nameOrID], nil
}
