package api

import "context"

// ContainerOfUserNS remembers who asked.
func (f *fake) ContainerOfUserNS(_ context.Context, id NamespaceID) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runtime = id
	return f.livesThere, f.livesErr
}

// NamespacePassedFrom: what is called "mine" was passed by whoever asked last.
func (f *fake) NamespacePassedFrom(_ context.Context, nameOrID string) (NamespaceID, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if nameOrID == "mine" {
		return f.runtime, "id-of-mine", nil
	}
	return NamespaceID{}, "id-of-" + nameOrID, nil
}
