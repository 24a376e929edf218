package peer

import (
	"slices"
	"testing"
)

func TestSurveys(t *testing.T) {
	s := Survey{Until: 1 << 63, Expiring: 7, From: 1, To: 1<<64 - 1}
	body := AppendMark(AppendDigest(AppendSurvey(nil, s), 1023, 1), 3, 4)
	got, rest, err := ParseSurvey(body)
	if got != s || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	p, count, rest, err := NextDigest(rest, 1024)
	if p != 1023 || count != 1 || len(rest) != MarkSize || err != nil {
		t.Errorf("partition %d, %d, %d bytes, %v", p, count, len(rest), err)
	}
	if hash, version := MarkAt(rest); hash != 3 || version != 4 {
		t.Errorf("mark %d, %d", hash, version)
	}
	if _, _, err := ParseSurvey(body[:surveySize-1]); err == nil {
		t.Error("half a survey is read")
	}
	if _, _, _, err := NextDigest(body[surveySize:], 1023); err == nil {
		t.Error("a partition that does not exist is read")
	}
	wants := []uint64{5, 1 << 60}
	answer := append(AppendWants(nil, wants), "entries"...)
	if hashes, entries, err := ParseWants(answer); !slices.Equal(hashes, wants) || string(entries) != "entries" || err != nil {
		t.Errorf("%v, %q, %v", hashes, entries, err)
	}
	for _, bad := range [][]byte{nil, {0, 0, 0}, {255, 255, 255, 255, 0}, answer[:19]} {
		if _, _, err := ParseWants(bad); err == nil {
			t.Errorf("%v is read", bad)
		}
	}
}
