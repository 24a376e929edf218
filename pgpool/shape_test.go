package pgpool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestGeneralise(t *testing.T) {
	for text, want := range map[string]string{
		"select 1":                              "select ?",
		"select a1, 12.5e3 from t2 where x=42":  "select a1, ? from t2 where x=?",
		"select 'it''s', 'x' where a='y'":       "select ?, ? where a=?",
		`select E'a\'b', 'c\' from t`:           "select E?, ? from t",
		`select "col 1", "a""b" from "T" b`:     `select "col 1", "a""b" from "T" b`,
		"select $1, $12":                        "select $1, $12",
		"select 'never ends":                    "select ?",
		`select "never ends 1`:                  `select "never ends 1`,
		"select 0x1F, 1_000, x1":                "select ?, ?, x1",
		"":                                      "",
		"7":                                     "?",
		"select é1, 2":                          "select é1, ?",
		"/* outrigger: primary */ select 1":     "/* outrigger: primary */ select ?",
		"select 1-2, 1+2, -3, a-4, (5), [6], 7": "select ?-?, ?+?, -?, a-?, (?), [?], ?",
	} {
		if got := string(generalise(make([]byte, 0, shapeText), []byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := generalise(make([]byte, 0, 10), []byte(`select "a very long name" from t`)); len(got) > 10 {
		t.Errorf("%d bytes in a room of 10", len(got))
	}
}

func FuzzGeneralise(f *testing.F) {
	f.Add([]byte(`select 'a''b', E'\'', "c", 1.5, $1`), 20)
	f.Fuzz(func(t *testing.T, text []byte, room int) {
		room = max(0, min(room, shapeText))
		if got := generalise(make([]byte, 0, room), text); len(got) > room || len(got) > len(text) {
			t.Errorf("%d bytes of %d in a room of %d", len(got), len(text), room)
		}
	})
}

// What is known of a shape says where most of its runs are, and follows when they change.
func TestShapesFollowWhatRuns(t *testing.T) {
	h, now := &shape{}, time.Now()
	run := func(times int, usual, rare time.Duration, one int) {
		for i := range times {
			took := usual + time.Duration(rand.Int64N(int64(usual/4)))
			if one > 0 && i%one == 0 {
				took = rare
			}
			now = now.Add(10 * time.Millisecond)
			h.ran(took, 100, now)
		}
	}
	between := func(what string, v float32, least, most time.Duration) {
		t.Helper()
		if d := time.Duration(v) * time.Microsecond; d < least || d > most {
			t.Errorf("%s is %v, not from %v to %v", what, d, least, most)
		}
	}
	run(1000, 100*time.Microsecond, 0, 0)
	between("the best", h.best.value, 100*time.Microsecond, 105*time.Microsecond)
	between("most", float32(h.time), 100*time.Microsecond, 200*time.Microsecond)
	run(2000, 100*time.Microsecond, 50*time.Millisecond, 10) // one in ten is slow: that is not short
	between("the best", h.best.value, 100*time.Microsecond, 105*time.Microsecond)
	between("most", float32(h.time), 20*time.Millisecond, time.Second)
	run(4000, 100*time.Microsecond, 0, 0) // and forgotten
	between("most", float32(h.time), 100*time.Microsecond, time.Millisecond)
	run(1, 20*time.Millisecond, 0, 0)
	between("the best", h.best.value, 100*time.Microsecond, 105*time.Microsecond)
	run(3000, 20*time.Millisecond, 0, 0) // all of them are slow
	between("the best", h.best.value, 19*time.Millisecond, 25*time.Millisecond)
	now = now.Add(time.Minute)
	run(1, 10*time.Microsecond, 0, 0)
	run(1, 100*time.Microsecond, 0, 0)
	between("the best", h.best.value, 10*time.Microsecond, 13*time.Microsecond)
}

// A pool uses fewer servers when they stretch each other, and all of them again when they do not.
func TestLanesFollowTheStretch(t *testing.T) {
	l := &lanes{busy: 12}
	feel := func(stretch float32, times int) {
		for range times * lanesEvery {
			l.felt(stretch, 20)
		}
	}
	feel(1, 10)
	if l.width != 0 {
		t.Errorf("%v lanes without need", l.width)
	}
	feel(30, 4)
	if l.width <= leastLanes || l.width >= 12 {
		t.Errorf("%v lanes at the beginning of the strain", l.width)
	}
	feel(30, 100)
	if l.width != leastLanes {
		t.Errorf("%v lanes under strain", l.width)
	}
	feel(3, 100)
	if l.width != leastLanes {
		t.Errorf("%v lanes between", l.width)
	}
	feel(1, 10)
	if l.width <= leastLanes || l.width > leastLanes+10 {
		t.Errorf("%v lanes soon after it", l.width)
	}
	feel(1, 100)
	if l.width != 0 {
		t.Errorf("%v lanes long after it", l.width)
	}
}

// The table of shapes is bounded, and what is asked for stays.
func TestShapesAreBounded(t *testing.T) {
	var all shapes
	texts := newStatements(&statementNames{})
	asked := texts.query([]byte("select 'asked for' from t\x00"))
	first := all.of(asked)
	for i := range 3 * maxShapes {
		all.of(texts.query(fmt.Appendf(nil, "select a%d from t\x00", i)))
		if asked.shape = nil; all.of(asked) != first {
			t.Fatalf("forgotten at the %dth", i)
		}
	}
	if n := len(all.byKey); n > maxShapes {
		t.Errorf("%d shapes", n)
	}
	if all.of(texts.query([]byte("select 'something else' from t\x00"))) != first {
		t.Error("texts that differ in a literal have two shapes")
	}
}
