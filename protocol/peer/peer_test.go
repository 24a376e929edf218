package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func TestFrameRoundTrip(t *testing.T) {
	frames := []Frame{
		{Type: Hello, ID: 1},
		{Type: Command, Flags: CommandFlags(3, 15, true, false), ID: 1<<64 - 1, Epoch: 42, Body: []byte("*1\r\n$4\r\nPING\r\n")},
		{Type: Publish, Body: bytes.Repeat([]byte("x"), 100_000)},
	}
	var wire []byte
	for _, f := range frames {
		wire = Append(wire, f)
	}
	for _, want := range frames {
		got, n, _, err := Parse(wire)
		if err != nil || n == 0 {
			t.Fatalf("Parse: n=%d err=%v", n, err)
		}
		if got.Type != want.Type || got.Flags != want.Flags || got.ID != want.ID || got.Epoch != want.Epoch || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		wire = wire[n:]
	}
	if len(wire) != 0 {
		t.Errorf("%d bytes left", len(wire))
	}
}

func TestCommandFlags(t *testing.T) {
	for _, proto := range []int{2, 3} {
		for bits := range 4 {
			local, last := bits&1 != 0, bits&2 != 0
			for db := range 16 {
				f := Frame{Flags: CommandFlags(proto, db, local, last)}
				if f.Proto() != proto || f.Database() != db || (f.Flags&FlagLocalOnly != 0) != local || (f.Flags&FlagLastHop != 0) != last {
					t.Errorf("proto %d, database %d, local %v, last %v come back as %08b", proto, db, local, last, f.Flags)
				}
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	header := func(length uint32, kind byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, length)
		b = append(b, kind)
		return append(b, make([]byte, 64)...)
	}
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"too short", header(HeaderSize-lengthSize-1, 1), ErrFrameLength},
		{"no length", header(0, 1), ErrFrameLength},
		{"too long", header(MaxBody+HeaderSize-lengthSize+1, 1), ErrFrameLength},
		{"wraps around", header(1<<32-1, 1), ErrFrameLength},
		{"type zero", header(HeaderSize-lengthSize, 0), ErrFrameType},
		{"unknown type", header(HeaderSize-lengthSize, byte(lastType)+1), ErrFrameType},
	}
	for _, tt := range tests {
		if _, n, _, err := Parse(tt.in); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: n=%d err=%v, want %v", tt.name, n, err, tt.want)
		}
	}
}

func TestFinishRefusesHugeBodies(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Finish(make([]byte, MaxBody+HeaderSize+1), 0)
}

var sampleEntries = []Entry{
	{Key: []byte{}, Items: [][]byte{}},
	{Key: []byte("k"), Kind: 1, Version: 1<<64 - 1, ExpireAt: -1, Items: [][]byte{[]byte("v")}},
	{Key: []byte("gone"), Deleted: true, Version: 7, Items: [][]byte{}},
	{Key: []byte("hash"), Kind: 127, Version: 9, ExpireAt: 1 << 40, Items: [][]byte{[]byte("f"), {}, []byte("g"), []byte("w")}},
}

func TestEntryRoundTrip(t *testing.T) {
	var wire []byte
	for _, e := range sampleEntries {
		before := len(wire)
		wire = AppendEntry(wire, &e)
		if got := EntrySize(&e); got != len(wire)-before {
			t.Errorf("EntrySize says %d, %d were appended", got, len(wire)-before)
		}
	}
	for _, want := range sampleEntries {
		var got Entry
		rest, err := NextEntry(wire, &got)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Items) == 0 {
			got.Items = [][]byte{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		wire = rest
	}
	if len(wire) != 0 {
		t.Errorf("%d bytes left", len(wire))
	}
}

// Other programs can read entries with any msgpack library.
func TestEntryIsMsgpack(t *testing.T) {
	want := sampleEntries[3]
	wire := AppendEntry(nil, &want)
	dec := msgpack.NewDecoder(bytes.NewReader(wire))
	n, err := dec.DecodeArrayLen()
	if err != nil || n != 6 {
		t.Fatalf("array of %d, %v", n, err)
	}
	key, err1 := dec.DecodeBytes()
	kind, err2 := dec.DecodeUint8()
	version, err3 := dec.DecodeUint64()
	expire, err4 := dec.DecodeInt64()
	deleted, err5 := dec.DecodeBool()
	var items [][]byte
	err6 := dec.Decode(&items)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	got := Entry{Key: key, Kind: kind, Version: version, ExpireAt: expire, Deleted: deleted, Items: items}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEntryErrors(t *testing.T) {
	good := AppendEntry(nil, &sampleEntries[3])
	var e Entry
	for n := range good {
		if _, err := NextEntry(good[:n:n], &e); !errors.Is(err, ErrEntry) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	// Every byte that announces a format must be checked.
	key := 1 + 5 + len("hash")
	for _, at := range []int{0, 1, key, key + 1, key + 10, key + 19, key + 20, key + 25} {
		bad := slices.Clone(good)
		bad[at] = 0xc1 // msgpack never uses it
		if _, err := NextEntry(bad, &e); !errors.Is(err, ErrEntry) {
			t.Errorf("byte %d spoilt: %v", at, err)
		}
	}
	// A count that no body of this length can hold.
	bad := slices.Clone(good)
	binary.BigEndian.PutUint32(bad[key+21:], 1<<32-1)
	if _, err := NextEntry(bad, &e); !errors.Is(err, ErrEntry) {
		t.Errorf("impossible number of items: %v", err)
	}
}

func TestBodies(t *testing.T) {
	g := Greeting{Version: 1, VersionMin: 1, VersionMax: 9, Cluster: "c", Node: "n", Instance: 1 << 63}
	body, err := AppendGreeting(nil, g)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseGreeting(body); err != nil || got != g {
		t.Errorf("greeting %+v, %v", got, err)
	}
	if _, err := ParseGreeting([]byte{0xc1}); err == nil {
		t.Error("a malformed greeting is accepted")
	}

	for _, tt := range []struct {
		g    Greeting
		want int // 0 for none
	}{
		{Greeting{Version: 1}, 1},
		{Greeting{Version: 0}, 0},
		{Greeting{Version: VersionMax + 1}, 0},
		{Greeting{Version: 1, VersionMin: 1, VersionMax: VersionMax}, VersionMax},
		{Greeting{Version: 1, VersionMin: 1, VersionMax: VersionMax + 7}, VersionMax},
		{Greeting{Version: 2, VersionMin: 2, VersionMax: VersionMax + 7}, VersionMax},
		{Greeting{Version: VersionMax + 1, VersionMin: VersionMax + 1, VersionMax: VersionMax + 7}, 0},
	} {
		if version, err := tt.g.Agree(); version != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%+v: version %d, %v; want %d", tt.g, version, err, tt.want)
		}
	}
	if Publish.Since() != 1 || (Publish+1).Since() != 2 {
		t.Error("the last frame of version 1 is not Publish")
	}

	want := []int{0, 3, 1023}
	if got, err := ParsePartitions(nil, AppendPartitions(nil, want), 1024); err != nil || !slices.Equal(got, want) {
		t.Errorf("partitions %v, %v", got, err)
	}
	for _, bad := range [][]byte{{0}, {4, 0}, make([]byte, 2050)} {
		if _, err := ParsePartitions(nil, bad, 1024); !errors.Is(err, ErrBody) {
			t.Errorf("partitions of %d bytes: %v", len(bad), err)
		}
	}

	channel, payload, err := ParseMessage(AppendMessage(nil, []byte("news"), []byte("hello")))
	if err != nil || string(channel) != "news" || string(payload) != "hello" {
		t.Errorf("message %q %q, %v", channel, payload, err)
	}
	for _, bad := range [][]byte{{}, {0, 0, 0}, {0, 0, 0, 5, 'n'}, {255, 255, 255, 255, 'n'}} {
		if _, _, err := ParseMessage(bad); !errors.Is(err, ErrBody) {
			t.Errorf("message %v: %v", bad, err)
		}
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	var e Entry
	n := testing.AllocsPerRun(100, func() {
		b := Begin(buf[:0], Replicate, 0, 1, 2)
		for i := range sampleEntries {
			b = AppendEntry(b, &sampleEntries[i])
		}
		Finish(b, 0)
		f, _, _, _ := Parse(b)
		for rest := f.Body; len(rest) > 0; {
			rest, _ = NextEntry(rest, &e)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse holds that a stream gives the same frames whole and byte by byte, and that no body makes a decoder panic.
func FuzzParse(f *testing.F) {
	var wire []byte
	for i, e := range sampleEntries {
		wire = Append(wire, Frame{Type: Replicate, ID: uint64(i), Body: AppendEntry(nil, &e)})
	}
	greeting, _ := AppendGreeting(nil, Greeting{Version: 1, Cluster: "c"})
	f.Add(wire)
	f.Add(Append(nil, Frame{Type: Hello, Body: greeting}))
	f.Add(Append(nil, Frame{Type: Offer, Body: AppendPartitions(nil, []int{1, 2, 3})}))
	f.Add(Append(nil, Frame{Type: Publish, Body: AppendMessage(nil, []byte("c"), []byte("p"))}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0, 18})
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, wholeErr := parseAll(in, len(in))
		slow, slowErr := parseAll(in, 1)
		if !reflect.DeepEqual(whole, slow) || wholeErr != slowErr {
			t.Fatalf("whole %v, %v; byte by byte %v, %v", whole, wholeErr, slow, slowErr)
		}
		for _, frame := range whole {
			if again := Append(nil, frame); !bytes.Contains(in, again) {
				t.Fatalf("%+v is written as %x", frame, again)
			}
			var e Entry
			for rest, err := frame.Body, error(nil); len(rest) > 0; {
				at := rest
				if rest, err = NextEntry(rest, &e); err != nil {
					break
				}
				if again := AppendEntry(nil, &e); !bytes.Equal(again, at[:len(at)-len(rest)]) {
					t.Fatalf("entry %+v is written as %x, was %x", e, again, at[:len(at)-len(rest)])
				}
			}
			ParseGreeting(frame.Body)
			ParsePartitions(nil, frame.Body, 1024)
			ParseMessage(frame.Body)
		}
	})
}

// parseAll feeds in to Parse in pieces of step bytes, as a connection would.
func parseAll(in []byte, step int) (frames []Frame, err error) {
	var held []byte
	for len(in) > 0 {
		step := min(step, len(in))
		held = append(held, in[:step]...)
		in = in[step:]
		for len(held) > 0 {
			f, n, need, err := Parse(held)
			if err != nil {
				return frames, err
			}
			if n == 0 {
				if need <= len(held) {
					return frames, errors.New("asks for what it has")
				}
				break
			}
			frames = append(frames, Frame{f.Type, f.Flags, f.ID, f.Epoch, bytes.Clone(f.Body)})
			held = held[n:]
		}
	}
	return frames, nil
}

func BenchmarkReplicate(b *testing.B) {
	buf := make([]byte, 0, 4096)
	entry := Entry{Key: []byte("user:1000"), Version: 1, Items: [][]byte{make([]byte, 100)}}
	var e Entry
	for b.Loop() {
		w := Begin(buf[:0], Replicate, 0, 1, 2)
		w = AppendEntry(w, &entry)
		Finish(w, 0)
		f, _, _, _ := Parse(w)
		if _, err := NextEntry(f.Body, &e); err != nil {
			b.Fatal(err)
		}
	}
}
