package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
)

// templateFuncs are the functions of Docker's templates, beside those that
// text/template brings (index, len, eq, printf, ...).
var templateFuncs = template.FuncMap{
	"json":     jsonText,
	"split":    strings.Split,
	"join":     strings.Join,
	"title":    title,
	"lower":    strings.ToLower,
	"upper":    strings.ToUpper,
	"pad":      padText,
	"truncate": truncateText,
	"println":  fmt.Sprintln,
}

func jsonText(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "->" and "<none>" stay readable
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// title makes the first letter of each word a capital.
func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		defer func() { start = r == ' ' || r == '-' || r == '\t' }()
		if start {
			return []rune(strings.ToTitle(string(r)))[0]
		}
		return r
	}, s)
}

// padText puts blanks around a text that is not empty.
func padText(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

func truncateText(s string, length int) string {
	runes := []rune(s)
	if length < 0 || len(runes) <= length {
		return s
	}
	return string(runes[:length])
}

// parseTemplate parses a --format. Two backslashed letters stand for what a
// shell makes hard to write: \t and \n.
func parseTemplate(text string) (*template.Template, error) {
	if text == "json" {
		text = "{{json .}}"
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Funcs(templateFuncs).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return t, nil
}

// flatInspect is a container as inspect shows it: with the settings of its
// default network also where Docker had them once and scripts still look for
// them, .NetworkSettings.IPAddress.
type flatInspect struct {
	api.ContainerInspect
	NetworkSettings flatSettings
}

type flatSettings struct {
	container.NetworkSettings
	api.FlatNetworkSettings
}

// withFlatSettings makes a container to what inspect shows, and leaves alone
// everything else.
func withFlatSettings(v any) any {
	found, ok := v.(api.ContainerInspect)
	if !ok || found.NetworkSettings == nil {
		return v
	}
	return flatInspect{found, flatSettings{*found.NetworkSettings, api.FlatSettings(found.NetworkSettings)}}
}

// executeInspect fills a template of inspect with v, an object of the API. A
// field that the type does not have is looked for in the object's JSON, where
// names differ here and there (Id, ID); one that is not there either is an error.
func executeInspect(t *template.Template, v any) (string, error) {
	v = withFlatSettings(v)
	var b bytes.Buffer
	typed := t.Execute(&b, plain(v))
	if typed == nil {
		return b.String(), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var raw any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&raw); err != nil {
		return "", err
	}
	strict, err := t.Clone()
	if err != nil {
		return "", err
	}
	b.Reset()
	if err := strict.Option("missingkey=error").Execute(&b, raw); err != nil {
		var exec template.ExecError
		if errors.As(err, &exec) {
			err = exec.Err
		}
		return "", fmt.Errorf("template parsing error: %w", err)
	}
	return b.String(), nil
}
