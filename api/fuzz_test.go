package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// fuzzServer returns the real handler over a fake.
func fuzzServer(f *testing.F) (*fake, http.Handler) {
	back := newFake()
	s, err := NewServer(ServerOptions{Backend: back})
	if err != nil {
		f.Fatal(err)
	}
	return back, s.Handler()
}

// send drives the handler without a connection. Handlers that take over the
// connection answer 500 then, because a recorder has none.
func send(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil
	}
	r := &http.Request{Method: method, URL: u, RequestURI: path, Host: "x", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody}
	if body != "" {
		r = httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = u
		r.Header.Set("Content-Type", "application/json")
	}
	// Streams must end by themselves here.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(ctx))
	return w
}

// checkAnswer holds for every answer: a status that we give, and JSON where an
// error is. A panic of ours would be a 500.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	// What is too old for JSON is told in plain words.
	plain := strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") && strings.Contains(w.Body.String(), "is too old")
	if w.Code >= 400 && !plain && !hasMessage(w.Body.String()) {
		t.Errorf("%d without a message: %q", w.Code, w.Body)
	}
	if w.Code == http.StatusInternalServerError && !strings.Contains(w.Body.String(), "take over the connection") {
		t.Errorf("500: %s", w.Body)
	}
}

func FuzzNetworkCreateBody(f *testing.F) {
	back, h := fuzzServer(f)
	for _, body := range []string{
		`{"Name":"x"}`, `{"Name":"x","IPAM":{"Config":[{"Subnet":"10.0.0.0/8","Gateway":"10.0.0.1"}]}}`,
		`{"Name":"x","EnableIPv6":true,"Options":{"com.docker.network.driver.mtu":"9000"}}`,
		`{"Name":"x","Driver":"bridge","Internal":true,"Labels":{"a":"b"}}`,
		`null`, `[]`, `{"Name":null}`, `{"name":"x","NAME":"y"}`, "{\"Name\":\"\\u0000\"}", `{"Name":"x"} {}`, `{"Name":"` + strings.Repeat("x", 256) + `"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := send(h, "POST", "/v1.44/networks/create", body)
		checkAnswer(t, w)
		if w.Code != http.StatusCreated {
			return
		}
		var res network.CreateResponse
		if err := json.Unmarshal(w.Body.Bytes(), &res); err != nil {
			t.Fatal(err)
		}
		if name := back.networks[res.ID].Name; !validName(name) {
			t.Errorf("the backend was given the name %q", name)
		}
		clear(back.networks)
	})
}

func FuzzContainerCreateBody(f *testing.F) {
	back, h := fuzzServer(f)
	for _, body := range []string{
		`{"Cmd":["cat"],"Image":"x"}`, `{"Cmd":"cat"}`, `{}`, `null`, `{"HostConfig":{}}`, `{"Cmd":[],"HostConfig":null,"NetworkingConfig":null}`,
		`{"Cmd":["x"],"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]},"Dns":["1.1.1.1"]}}`,
		`{"Cmd":["x"],"ExposedPorts":{"80/udp":{}},"NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":{"IPv4Address":"10.0.0.2"},"MacAddress":"02:42:0a:00:00:02"}}}}`,
		`{"Cmd":["x"],"NetworkingConfig":{"EndpointsConfig":{"n":null}}}`, `{"Env":["A=B",""],"User":"0:0","Labels":{}}`,
	} {
		f.Add("web", body)
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		w := send(h, "POST", "/containers/create?name="+url.QueryEscape(name), body)
		checkAnswer(t, w)
		if w.Code != http.StatusCreated {
			return
		}
		var res container.CreateResponse
		if err := json.Unmarshal(w.Body.Bytes(), &res); err != nil {
			t.Fatal(err)
		}
		c := back.containers[res.ID]
		if !validName(c.name) {
			t.Errorf("the backend was given the name %q", c.name)
		}
		clear(back.containers)
		// What was taken can be told again.
		if _, err := json.Marshal(c.req); err != nil {
			t.Errorf("%s cannot be encoded again: %v", body, err)
		}
	})
}

func FuzzRequestPath(f *testing.F) {
	_, h := fuzzServer(f)
	for _, seed := range []struct{ method, path string }{
		{"GET", "/_ping"}, {"GET", "/v1.44/containers/json?all=1&filters=%7B%22a%22%3A%5B%22b%22%5D%7D"},
		{"GET", "/v1.24/networks/%2e%2e%2fx"}, {"DELETE", "/networks/x%00"}, {"POST", "/containers/x/wait?condition=removed"},
		{"GET", "/containers/x/logs?stdout=1&since=1.5&tail=3"}, {"POST", "/containers/x/attach?stream=1&detachKeys=ctrl-a"},
		{"GET", "//networks"}, {"GET", "/v1.44/v1.44/info"}, {"CONNECT", "/networks"}, {"GET", "/images/a/b/json"},
		{"GET", "/events?until=1"}, {"POST", "/exec/x/resize?h=1&w=2"}, {"OPTIONS", "/footbridge/v1/status"}, {"HEAD", "/v1.44/%6eetworks"},
	} {
		f.Add(seed.method, seed.path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		w := send(h, method, path, "")
		if w == nil {
			return
		}
		checkAnswer(t, w)
		if w.Code >= 300 && w.Code < 400 && w.Code != http.StatusNotModified {
			t.Errorf("%s %s: redirected to %q", method, path, w.Header().Get("Location"))
		}
	})
}
