package pgwire

import "testing"

// BenchmarkFraming goes through 64 KiB of answers message by message.
func BenchmarkFraming(b *testing.B) {
	row := append(AppendHeader(nil, DataRow, 95), make([]byte, 95)...)
	var stream []byte
	for len(stream) < 64<<10 {
		stream = append(stream, row...)
	}
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			_, size, ok := Header(rest)
			if !ok {
				b.Fatal("no message")
			}
			rest = rest[size:]
		}
	}
}
