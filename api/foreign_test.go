package api

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// NamespaceAttach of the fake gives a container of the name whose image is what was asked
// for.
func (f *fake) NamespaceAttach(_ context.Context, req NamespaceRequest) (container.CreateResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.CreateResponse{}, err
	}
	f.lastAttach = req
	b, err := json.Marshal(req)
	if err != nil {
		return container.CreateResponse{}, err
	}
	c := &fakeContainer{id: f.newID(), name: req.Name, req: container.CreateRequest{Config: &container.Config{Image: string(b)}}}
	f.containers[c.id] = c
	return container.CreateResponse{ID: c.id}, nil
}

// NamespaceDetach of the fake removes the container.
func (f *fake) NamespaceDetach(_ context.Context, nameOrID string) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	c, err := f.container(nameOrID)
	if err == nil {
		delete(f.containers, c.id)
	}
	return err
}

func TestNamespacesAreAttachedOverTheWire(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	want := NamespaceRequest{
		Name: "box", PID: 77, PIDStart: 4711, Holder: &ProcessID{PID: 78, Start: 4712},
		CreateRequest: container.CreateRequest{
			Config:           &container.Config{Labels: map[string]string{"a": "b"}},
			HostConfig:       &container.HostConfig{NetworkMode: "n"},
			NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"n": {Aliases: []string{"x"}}}},
		},
	}
	res, err := c.NamespaceAttach(ctx, want)
	if err != nil || res.Warnings == nil {
		t.Fatalf("attach: %+v, %v", res, err)
	}
	var got NamespaceRequest
	if err := json.Unmarshal([]byte(f.containers[res.ID].req.Image), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the backend got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []NamespaceRequest{
		{Name: "x"},
		{Name: "x", PID: -1},
		{Name: "x", PID: 77, NetNS: "/proc/77/ns/net"},
		{Name: "a b", PID: 77},
	} {
		if _, err := c.NamespaceAttach(ctx, bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: %v, want an invalid argument", bad, err)
		}
	}
	if len(f.containers) != 1 {
		t.Errorf("there are %d containers", len(f.containers))
	}
	if err := c.NamespaceDetach(ctx, "box"); err != nil {
		t.Error(err)
	}
	if err := c.NamespaceDetach(ctx, "box"); !errdefs.IsNotFound(err) {
		t.Errorf("again: %v", err)
	}
	for _, name := range []string{"", "-", "a\nb", strings.Repeat("x", 300)} {
		if err := c.NamespaceDetach(ctx, name); err == nil {
			t.Errorf("detach %q: no error", name)
		}
	}
}
