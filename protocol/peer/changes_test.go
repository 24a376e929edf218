package peer

import (
	"bytes"
	"slices"
	"testing"
)

func TestChangesAndBack(t *testing.T) {
	want := PollRequest{Since: 1 << 63, Hold: 1 << 31, Set: 7}
	body := AppendPoll(nil, want)
	if got, err := ParsePoll(body); err != nil || got != want {
		t.Errorf("poll %+v, %v", got, err)
	}
	for n := range body {
		if _, err := ParsePoll(body[:n]); err == nil {
			t.Errorf("%d bytes of a poll are accepted", n)
		}
	}
	hashes, set := []uint64{1, 1 << 63, 3}, []byte("set")
	body = AppendChanges(nil, 9, hashes, set)
	last, got, gotSet, err := ParseChanges(nil, body)
	if err != nil || last != 9 || !slices.Equal(got, hashes) || !bytes.Equal(gotSet, set) {
		t.Errorf("changes %d, %x, %q, %v", last, got, gotSet, err)
	}
	for n := range len(body) - len(set) {
		if _, _, _, err := ParseChanges(nil, body[:n]); err == nil {
			t.Errorf("%d bytes of changes are accepted", n)
		}
	}
	body = AppendCopy(nil, 5)
	if ms, reply, err := CutCopy(append(body, "r"...)); ms != 5 || string(reply) != "r" || err != nil {
		t.Errorf("copy %d, %q, %v", ms, reply, err)
	}
	if _, _, err := CutCopy(body[:7]); err == nil {
		t.Error("half a number is accepted")
	}
}

func FuzzChanges(f *testing.F) {
	f.Add(AppendChanges(nil, 9, []uint64{1, 2}, []byte("set")))
	f.Fuzz(func(t *testing.T, body []byte) {
		last, hashes, set, err := ParseChanges(nil, body)
		if err == nil && !bytes.Equal(AppendChanges(nil, last, hashes, set), body) {
			t.Errorf("%q reads as %d, %x, %q", body, last, hashes, set)
		}
	})
}
