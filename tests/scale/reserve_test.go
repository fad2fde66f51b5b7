package main

import (
	"os"
	"testing"
	"time"
)

func TestAReserveIsGivenBackBitByBit(t *testing.T) {
	a := new(Actor)
	resident := func() int {
		u, err := lookAt(os.Getpid(), false)
		if err != nil {
			t.Fatal(err)
		}
		return u.RSS
	}
	const part = 16 << 20
	before := resident()
	var page [2]time.Duration
	if err := a.Reserve(3*part, &page); err != nil {
		t.Fatal(err)
	}
	if grown := resident() - before; grown < 3*part-part/2 || page[0] <= 0 || page[1] <= 0 {
		t.Errorf("%d MiB are resident of 48; a page took %v", grown>>20, page)
	}
	for _, want := range []int{2 * part, part, 0, 0} {
		var left int
		if err := a.Spend(part, &left); err != nil || left != want {
			t.Fatalf("%d bytes left (%v), want %d", left, err, want)
		}
		if is := resident() - before; is > want+part/2 {
			t.Errorf("%d MiB are resident where %d are left", is>>20, want>>20)
		}
	}
}

func TestTimesAreSharedOut(t *testing.T) {
	before := times{time.Second, 2 * time.Second, 3 * time.Second}
	after := times{2 * time.Second, 4 * time.Second, 3 * time.Second}
	if keeper, helpers, worker := after.each(before, 100); keeper != 10 || helpers != 20 || worker != 0 {
		t.Errorf("%v, %v, %v ms each", keeper, helpers, worker)
	}
}
