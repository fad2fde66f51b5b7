package ocihook

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestStatesOfRuntimesAreRead(t *testing.T) {
	for text, want := range map[string]State{
		// runc 1.1.5, createRuntime
		`{"ociVersion":"1.0.2-dev","id":"t1","status":"creating","pid":30631,"bundle":"/home/u/b","annotations":{"com.footbridge.network":"n"}}`: {
			ID: "t1", Status: "creating", PID: 30631, Bundle: "/home/u/b", Annotations: map[string]string{"com.footbridge.network": "n"}},
		// crun 1.8.1, createContainer and poststop
		`{"ociVersion":"1.0","id":"t1","pid":0,"root":"rootfs","bundle":"/b","status":"created","annotations":{}}`: {ID: "t1", Status: "created", Bundle: "/b", Annotations: map[string]string{}},
		`{"ociVersion":"1.0","id":"t1","bundle":"/b","status":"stopped"}` + "\n":                                   {ID: "t1", Status: Stopped, Bundle: "/b"},
	} {
		got, err := ReadState(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n%+v, %v", text, got, err)
		}
	}
}

func TestWhatIsNoStateIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "unexpected end",
		"{":                                     "unexpected end",
		"[]":                                    "cannot unmarshal array",
		"{}":                                    "no id",
		`{"id":"a","pid":-1}`:                   "-1 is no process",
		`{"id":"a","pid":"1"}`:                  "cannot unmarshal string",
		`{"id":"a","bundle":"b"}`:               `bundle "b" is no absolute path`,
		`{"id":"a"}`:                            `bundle "" is no absolute path`,
		`{"id":"a","bundle":"/b"} {}`:           "after top-level value",
		strings.Repeat(" ", maxDocument):        "unexpected end",
		strings.Repeat(" ", maxDocument) + `{}`: "more than",
		`{"id":"a","bundle":"/b","annotations":{"com.foot":1}}`: "cannot unmarshal number",
	} {
		_, err := ReadState(strings.NewReader(text))
		if !errors.Is(err, errDocument) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%.60q: %v, want ...%s", text, err, want)
		}
	}
}

// Whatever a runtime says: it is a state with an id and a bundle or an error, and so are its annotations: options
// that are known, each of an annotation that is there.
func FuzzState(f *testing.F) {
	for _, seed := range []string{
		`{"ociVersion":"1.0.2-dev","id":"t1","status":"creating","pid":30631,"bundle":"/b","annotations":{"com.footbridge.network":"n m,alias=x"}}`,
		`{"id":"a","bundle":"/b","annotations":{"com.footbridge.label.x":"  y ","com.footbridge.ip":"10.0.0.1","org.other":"z"}}`,
		`{"id":"a","pid":-9223372036854775808}`, `[[[[`, "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ReadState(strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, errDocument) {
				t.Errorf("%v", err)
			}
			return
		}
		if s.ID == "" || s.PID < 0 || s.Bundle[0] != '/' {
			t.Errorf("%+v", s)
		}
		options, err := Options(s.Annotations)
		if err != nil {
			return
		}
		for _, o := range options {
			if _, ok := s.Annotations[o.Annotation]; !ok || o.Name != "label" && (!known(o.Name) || o.Value == "") {
				t.Errorf("%+v of %v", o, s.Annotations)
			}
		}
	})
}
