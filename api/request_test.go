package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

func TestVersionNegotiation(t *testing.T) {
	_, c := start(t)
	for _, tt := range []struct {
		path string
		want int
		text string
	}{
		{"/version", 200, ""},
		{"/v1.24/version", 200, ""},
		{"/v1.41/version", 200, ""},
		{"/v" + MaxVersion + "/version", 200, ""},
		{"/v1.23/version", 400, "client version 1.23 is too old. Minimum supported API version is 1.24"},
		{"/v1.57/version", 400, "client version 1.57 is too new. Maximum supported API version is 1.56"},
		{"/v2.0/version", 400, "too new"},
		{"/v1.9999/_ping", 400, "too new"},
		{"/v1.99999/version", 404, "page not found"},
		{"/v1/version", 404, "page not found"},
		{"/v1.41.2/version", 404, "page not found"},
		{"/v1.41", 404, "page not found"},
		{"/v1.41/v1.41/version", 404, "page not found"},
		{"/volumes", 200, `"Volumes":[]`},
		{"/swarm", 501, "not supported"},
	} {
		status, body := do(t, c, "GET", tt.path, "")
		if status != tt.want || !strings.Contains(body, tt.text) {
			t.Errorf("%s: %d %s; want %d with %q", tt.path, status, body, tt.want, tt.text)
		}
	}
}

// TestVersionIsThatOfTheTypes fails when the modules are upgraded and the
// constant is forgotten.
func TestVersionIsThatOfTheTypes(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`github\.com/moby/moby/api v(\d+\.\d+)\.`).FindSubmatch(mod)
	if m == nil || string(m[1]) != MaxVersion {
		t.Errorf("go.mod has the types of %q, MaxVersion is %s", m, MaxVersion)
	}
	if client.MaxAPIVersion != MaxVersion {
		t.Errorf("Docker's client speaks up to %s, we up to %s", client.MaxAPIVersion, MaxVersion)
	}
}

func TestPing(t *testing.T) {
	_, c := start(t)
	for _, method := range []string{"GET", "HEAD"} {
		conn := dialRaw(t, c.Socket())
		fmt.Fprintf(conn, "%s /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method)
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"HTTP/1.1 200 OK", "\r\nApi-Version: " + MaxVersion + "\r\n", "\r\nOstype: linux\r\n", "\r\nServer: footbridge/"} {
			if !strings.Contains(string(answer), want) {
				t.Errorf("%s: %q lacks %q", method, answer, want)
			}
		}
		if strings.HasSuffix(string(answer), "\r\n\r\nOK") != (method == "GET") {
			t.Errorf("%s: body of %q", method, answer)
		}
	}
}

func TestUnknownAndLackingRoutes(t *testing.T) {
	_, c := start(t)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404},
		{"GET", "/nonsense", 404},
		{"GET", "/containers", 404},
		{"GET", "/containers//json", 404},
		{"GET", "/containers/../networks", 404},
		{"GET", "/networks/", 404},
		{"GET", "/networks/./x", 404},
		{"PUT", "/networks", 404}, // Docker knows no 405
		{"POST", "/_ping", 404},
		{"GET", "/footbridge/v1/nonsense", 404},
		{"GET", "/networks/%1b%5b2J", 400},
		{"GET", "/networks/%ff", 400},
		{"GET", "/networks/" + strings.Repeat("x", 300), 400},
		{"GET", "/networks?a=1;b=2", 400},
		{"GET", "/networks?filters=nonsense", 400},
		{"GET", "/networks?filters=%7B%22name%22%3A1%7D", 400},
		{"GET", "/networks?filters=%7B%22name%22%3A%5B%22x%22%5D%7D", 200}, // the older shape
		{"GET", "/containers/json?limit=many", 400},
		{"POST", "/containers/x/stop?t=soon", 400},
		{"POST", "/containers/x/resize?h=1", 400},
		{"POST", "/containers/x/resize?h=1&w=65536", 400},
		{"POST", "/exec/x/resize?h=-1&w=1", 400},
		{"DELETE", "/containers/x?link=1", 501},
	} {
		if status, body := do(t, c, tt.method, tt.path, ""); status != tt.want || tt.want >= 400 && !hasMessage(body) {
			t.Errorf("%s %s: %d %s; want %d and a message", tt.method, tt.path, status, body, tt.want)
		}
	}
	for pattern := range lacking {
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			method, path = "GET", pattern
		}
		path = strings.NewReplacer("{name}", "x", "{checkpoint}", "y").Replace(path)
		if strings.HasSuffix(path, "/") {
			path += "a/b"
		}
		status, body := do(t, c, method, "/v1.44"+path, "")
		if status != 501 || !strings.Contains(body, "not supported") {
			t.Errorf("%s %s: %d %s; want 501 and a sentence", method, path, status, body)
		}
	}
}

// TestRefusalsNameTheOperation: a refusal that says only that there is none helps nobody.
func TestRefusalsNameTheOperation(t *testing.T) {
	_, c := start(t)
	for request, want := range map[string]string{
		"POST /containers/x/pause":      "pausing containers (pause, unpause)",
		"POST /containers/x/unpause":    "pausing containers (pause, unpause)",
		"GET /containers/x/changes":     "(diff)",
		"GET /containers/x/stats":       "(update, stats)",
		"POST /containers/x/update":     "(update, stats)",
		"GET /containers/x/export":      "(cp, export)",
		"GET /containers/x/attach/ws":   "WebSocket",
		"GET /containers/x/checkpoints": "checkpoints",
		"GET /system/df":                "(system df)",
		"POST /build":                   "building images",
		"POST /images/create":           "images",
		"DELETE /images/x":              "images",
		"POST /volumes/create":          "volumes",
		"DELETE /volumes/x":             "volumes",
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, body := do(t, c, method, path, ""); status != 501 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s; want 501 and %q", request, status, body, want)
		}
	}
}

// TestWhatThereIsNoneOfIsEmpty lets clean-up scripts go on.
func TestWhatThereIsNoneOfIsEmpty(t *testing.T) {
	_, c := start(t)
	for request, want := range map[string]string{
		"GET /images/json":      "[]",
		"POST /images/prune":    `{"ImagesDeleted":[],"SpaceReclaimed":0}`,
		"GET /v1.24/volumes":    `{"Volumes":[],"Warnings":[]}`,
		"POST /volumes/prune":   `{"VolumesDeleted":[],"SpaceReclaimed":0}`,
		"POST /build/prune?x=y": `{"CachesDeleted":[],"SpaceReclaimed":0}`,
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, body := do(t, c, method, path, ""); status != 200 || body != want+"\n" {
			t.Errorf("%s: %d %s; want %s", request, status, body, want)
		}
	}
	if status, body := do(t, c, "GET", "/volumes?filters=nonsense", ""); status != 400 || !hasMessage(body) {
		t.Errorf("filters that are none: %d %s", status, body)
	}
}

func hasMessage(body string) bool {
	var e struct{ Message string }
	return json.Unmarshal([]byte(body), &e) == nil && e.Message != ""
}

func TestListsAreNeverNull(t *testing.T) {
	_, c := start(t)
	for _, path := range []string{"/networks", "/containers/json"} {
		if status, body := do(t, c, "GET", path, ""); status != 200 || body != "[]\n" {
			t.Errorf("%s: %d %q; want []", path, status, body)
		}
	}
	if _, body := do(t, c, "POST", "/networks/prune", ""); body != "{\"NetworksDeleted\":[]}\n" {
		t.Errorf("prune: %q", body)
	}
}

func TestBodies(t *testing.T) {
	f, c := start(t)
	big := `{"Name":"x","Labels":{"a":"` + strings.Repeat("x", maxBody) + `"}}`
	for _, tt := range []struct {
		name, contentType, body string
		want                    int
		text                    string
	}{
		{"good", "application/json", `{"Name":"good"}`, 201, ""},
		{"with a parameter", "application/json; charset=utf-8", `{"Name":"good2"}`, 201, ""},
		{"unknown fields", "application/json", `{"Name":"good3","CheckDuplicate":true,"x":[1]}`, 201, ""},
		{"white space after it", "application/json", "{\"Name\":\"good4\"}\r\n \t", 201, ""},
		{"a second value", "application/json", `{"Name":"x"}{"Name":"y"}`, 400, "unexpected content after JSON"},
		{"garbage after it", "application/json", `{"Name":"x"}garbage`, 400, "unexpected content after JSON"},
		{"nothing", "application/json", ``, 400, "got EOF"},
		{"half", "application/json", `{"Name":"x`, 400, "invalid JSON"},
		{"another type", "application/json", `{"Name":[1]}`, 400, "invalid JSON"},
		{"a bad address", "application/json", `{"Name":"x","IPAM":{"Config":[{"Subnet":"nonsense"}]}}`, 400, "invalid JSON"},
		{"too deep", "application/json", strings.Repeat("[", 1<<20), 400, "invalid JSON"},
		{"too large", "application/json", big, 413, "larger than"},
		{"too large by what follows it", "application/json", `{"Name":"x"}` + strings.Repeat(" ", maxBody), 413, "larger than"},
		{"no type", "", `{"Name":"x"}`, 400, "must be 'application/json'"},
		{"a form", "application/x-www-form-urlencoded", `{"Name":"x"}`, 400, "unsupported Content-Type header"},
		{"a malformed type", "application/", `{"Name":"x"}`, 400, "malformed Content-Type header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The server may answer before it has read all of a large body, so it is
			// sent by a client that can do both at once.
			req, err := http.NewRequestWithContext(testContext(t), "POST", "http://x/networks/create", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.contentType != "" {
				req.Header.Set("Content-Type", tt.contentType)
			}
			resp, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.want || !strings.Contains(string(body), tt.text) {
				t.Errorf("%d %s; want %d with %q", resp.StatusCode, body, tt.want, tt.text)
			}
		})
	}
	if n := len(f.networks); n != 4 {
		t.Errorf("%d networks were made, want 4", n)
	}
}

func TestHeaderThatIsTooLarge(t *testing.T) {
	_, c := start(t)
	status, _, _ := raw(t, c.Socket(), "GET /_ping HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n")
	if status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d, want 431", status)
	}
}

func TestPanicIsAnsweredAndNotTheEnd(t *testing.T) {
	f, c := start(t)
	f.set(func(f *fake) { f.panics = true })
	err := c.Ping(testContext(t))
	if !errdefs.IsInternal(err) || !strings.Contains(err.Error(), "bug") {
		t.Errorf("got %v; want an internal error that says what it is", err)
	}
	if _, err := c.ContainerAttach(testContext(t), "x", everything); !errdefs.IsInternal(err) {
		t.Errorf("attach: %v", err)
	}
	f.set(func(f *fake) { f.panics = false })
	if err := c.Ping(testContext(t)); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestBooleansAreDockers(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "no": false, "False": false, "none": false, " false ": false, "1": true, "true": true, "yes": true, "x": true} {
		if got := (params{map[string][]string{"v": {value}}}).boolean("v"); got != want {
			t.Errorf("%q is %v, want %v", value, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	f := Filters{}.Add("label", "a", "b=c").Add("label!", "x").Add("name", "n", "m")
	for _, tt := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"a": "", "b": "c"}, true},
		{map[string]string{"a": "1", "b": "c", "d": ""}, true},
		{map[string]string{"a": "1", "b": "d"}, false},
		{map[string]string{"b": "c"}, false},
		{map[string]string{"a": "1", "b": "c", "x": ""}, false},
		{nil, false},
	} {
		if got := f.MatchLabels(tt.labels); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.labels, got, tt.want)
		}
	}
	if got := f.Values("name"); !slices.Equal(got, []string{"m", "n"}) {
		t.Errorf("values %q", got)
	}
	if !f.Match("absent", func(string) bool { return false }) || f.Match("name", func(string) bool { return false }) || !f.Match("name", func(v string) bool { return v == "n" }) {
		t.Error("Match is wrong")
	}
	if err := f.Check("name", "label"); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "'label!'") {
		t.Errorf("Check: %v", err)
	}
	got, err := parseFilters(f.query(nil).Get("filters"))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(f) {
		t.Errorf("%v came back as %v, %v", f, got, err)
	}
}

func TestNewServerNeedsABackend(t *testing.T) {
	if _, err := NewServer(ServerOptions{}); err == nil {
		t.Error("it did without")
	}
}

func TestErrorTextThatIsNoUTF8(t *testing.T) {
	if b := encodeError(Errorf(errdefs.ErrNotFound, "no \xff\xfe")); !json.Valid(b) || !bytes.Contains(b, []byte("no ")) {
		t.Errorf("body %q", b)
	}
}
