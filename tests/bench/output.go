package main

import (
	"strings"
	"sync"
)

// output keeps the beginning of what a program says. It may be written and read at the same time.
type output struct {
	mu   sync.Mutex
	text []byte
}

// outputLimit is enough for a complaint.
const outputLimit = 4 << 10

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b[:min(len(b), outputLimit-len(o.text))]...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(string(o.text))
}
