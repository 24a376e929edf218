package health

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Whatever a server answers to a probe, the probe fails and the process goes on.
func TestProbeOfAServerThatAnswersNonsense(t *testing.T) {
	answers := map[string]string{
		"column of negative length": "D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xfe",
		"column that is cut off":    "D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x02x",
		"fewer columns than said":   "D\x00\x00\x00\x06\x00\x01",
		"huge message":              "D\x7f\xff\xff\xff\x00\x01",
		"message without a length":  "Z\x00\x00\x00\x03",
		"NULL":                      "D\x00\x00\x00\x22\x00\x07" + strings.Repeat("\xff", 7*4) + "Z\x00\x00\x00\x05I",
		"no row":                    "Z\x00\x00\x00\x05I",
		"endless rows":              strings.Repeat("D\x00\x00\x00\x06\x00\x00", maxAnswer),
	}
	for _, typ := range "ACDEGHKNRSTVWZdnst123" {
		answers["empty "+string(typ)] = string(typ) + "\x00\x00\x00\x04"
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer theirs.Close()
				theirs.Read(make([]byte, 4096))
				theirs.Write([]byte(answer))
			}()
			_, err := newLink(ours).probe(time.Minute)
			ours.Close()
			<-done
			if err == nil {
				t.Error("the probe succeeds")
			}
		})
	}
}

func FuzzProbe(f *testing.F) {
	row := "D\x00\x00\x00\x2d\x00\x07\x00\x00\x00\x01f" + strings.Repeat("\x00\x00\x00\x01"+"7", 6)
	f.Add([]byte(row[:4] + string(rune(len(row)-1)) + row[5:] + "C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I"))
	f.Add(pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "ERROR", Code: "42501", Message: "no"}))
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer theirs.Close()
			theirs.Read(make([]byte, 4096))
			theirs.Write(answer)
		}()
		newLink(ours).probe(time.Minute)
		ours.Close()
		<-done
	})
}
