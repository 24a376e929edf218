// HOT PATH

package peer

import (
	"encoding/binary"
	"errors"
)

// The versions of this protocol that this build speaks. Two nodes use the highest that both do.
const (
	VersionMin = 1
	VersionMax = 2
)

// Type says what a frame is. Values are part of the protocol: they are only ever added.
type Type uint8

const (
	Hello     Type = 1  // who is there; first frame in both directions
	Refuse    Type = 2  // why the other side's Hello is not accepted, as text; the connection closes
	Command   Type = 3  // a command to execute, as RESP; answered by Reply
	Reply     Type = 4  // what a Command, or a Publish, came to, as RESP
	Replicate Type = 5  // entries that changed (FlagPassedOn); answered by Ack
	Ack       Type = 6  // done, or not (FlagWrongEpoch)
	Pull      Type = 7  // a key that the sender needs; answered by Entries
	Entries   Type = 8  // what the receiver of a Pull knows of the key, if anything (FlagComplete, FlagLastWord)
	Offer     Type = 9  // partitions that the sender holds and the receiver should (FlagForce); answered by Accept, or by Ack when the epochs differ
	Accept    Type = 10 // one byte for each partition of the Offer, in order: Busy, Want or Have
	Handoff   Type = 11 // entries of accepted partitions; answered by Ack
	Done      Type = 12 // partitions of which everything has been handed over; answered by Ack
	Publish   Type = 13 // a message for local subscribers; answered by Reply, the number of receivers

	// Version 2.
	Poll       Type = 16 // which copied keys of the receiver have changed; answered by Changes
	Changes    Type = 17 // those keys (FlagAllChanged, FlagNewSet)
	Invalidate Type = 20 // keys with these tags are to miss; answered by Answer
	Tags       Type = 21 // digests of the sender's table of tags, or a bucket of it; answered by Answer
	Away       Type = 24 // the sender had lost the receiver, so many milliseconds ago, and sees it again; answered by Ack
	Lack       Type = 25 // the sender does not have what it has confirmed to hold: offer it again; answered by Ack
	Digest     Type = 26 // digests of partitions that the sender owns; answered by Accept: Have (the same), Want (differs) or Busy (not held)
	Versions   Type = 27 // the keys of one of them (FlagLastWord); answered by Versions: those wanted, and entries that are newer
	Wait       Type = 28 // a Command that may wait for its keys, behind the milliseconds it has waited elsewhere (FlagTry); answered by Reply, Waiting or Served
	Waiting    Type = 29 // the Wait waits, for so many milliseconds (0: no end), as this command
	Served     Type = 30 // what became of one that waited, as RESP, or the command that has to wait elsewhere (FlagMoved); answered by Waited
	Waited     Type = 31 // what was served has arrived, or nobody waits for it any more (FlagGivenUp); not answered

	// Questions of other parts of the process, each answered by Answer.
	Cancel Type = 32 // a cancel request for a client of the receiver's pooler: process id u32, secret
	Floors Type = 33 // how far databases have been written through the sender's pooler
	Answer Type = 35 // what the question says (FlagNobody, FlagTooMany)

	lastType = Answer
)

// Since is the version of the protocol that t came with. Who speaks an older one closes the connection on it.
func (t Type) Since() int {
	if t <= Publish {
		return 1
	}
	return 2
}

// Flags of frames. Their meaning depends on the type.
const (
	// Command
	FlagRESP3     = 1 << 0 // the client speaks RESP3
	FlagLocalOnly = 1 << 1 // the receiver's part of a command that runs on all nodes
	FlagLastHop   = 1 << 2 // a node that is not the owner passes it on: execute it in any case
	FlagCopy      = 1 << 3 // a GET whose reply the sender would like to keep; of its Reply: it may, and for how long stands before it
	databaseShift = 4      // the upper half holds the database, 0 to 15

	// Wait has the flags of Command, but for
	FlagTry = 1 << 1 // do not wait: answer null

	// Served
	FlagMoved = 1 << 0 // the keys are another node's

	// Waited
	FlagGivenUp = 1 << 0

	// Replicate
	FlagPassedOn = 1 << 0 // by a node that got it from one with another ring: it goes no further

	// Ack
	FlagWrongEpoch = 1 << 0 // refused: the receiver's ring is another one

	// Publish: the flags are a number that says what is told
	NewsMessage      = 0 // a message on a channel
	NewsShardMessage = 1 // a message on a shard channel
	NewsChanged      = 2 // the key that the channel names, in stored form, has changed; with a payload, all keys have
	NewsTracking     = 3 // the sender's clients want NewsChanged, or not any more ("1", "0")
	NewsSetting      = 4 // the setting that the channel names has the value of the payload
	// Version 2
	NewsTopics       = 28 // a question: what do the receiver's clients listen to? Without a body; answered by Topics in a Reply
	NewsListens      = 29 // the sender's clients listen to the Topics of the payload as well
	NewsSettingSince = 31 // as NewsSetting, behind the Unix milliseconds of when it was set and a space
	NewsSurvey       = 30 // a question of the sender's sessions to the receiver's, as RESP in the payload; answered by a Reply

	// Pull
	FlagOwner = 1 << 0 // the sender owns the key's partition by its ring, and is going to change the key

	// Entries
	FlagComplete = 1 << 0 // the receiver of the Pull holds all of the partition: a key it does not send does not exist
	FlagLastWord = 1 << 1 // the receiver of the Pull has owned the partition, and has not handed it over

	// Offer
	FlagForce = 1 << 0 // the receiver has missed writes to these partitions, whatever it believes
	FlagOwned = 1 << 1 // the sender was their owner: it has what nobody else may have seen yet
	FlagAsk   = 1 << 2 // the sender would rather leave it to the owner: answer Busy instead of Want

	// Changes
	FlagAllChanged = 1 << 0 // any key may have changed
	FlagNewSet     = 1 << 1 // the set of partitions that the sender has the last word on follows: the Poll had another one

	// Answer
	FlagNobody  = 1 << 0 // nobody here answers such questions
	FlagTooMany = 1 << 1 // too many are asked at once
)

// What an Accept says of an offered partition.
const (
	Busy byte = iota // somebody else is handing it over
	Want             // send it
	Have             // it is here already
)

// CommandFlags packs what a Command carries besides its body.
func CommandFlags(proto, database int, localOnly, lastHop bool) uint8 {
	flags := uint8(database) << databaseShift
	if proto >= 3 {
		flags |= FlagRESP3
	}
	if localOnly {
		flags |= FlagLocalOnly
	}
	if lastHop {
		flags |= FlagLastHop
	}
	return flags
}

// Proto is the RESP version of a Command, 2 or 3.
func (f *Frame) Proto() int { return 2 + int(f.Flags&FlagRESP3) }

// Database is the database of a Command, 0 to 15.
func (f *Frame) Database() int { return int(f.Flags >> databaseShift) }

const (
	// HeaderSize is what precedes a body: length u32, type u8, flags u8, id u64, epoch u64, big endian. The length counts
	// everything behind itself.
	HeaderSize = 22

	lengthSize = 4

	// MaxBody bounds a body in bytes: the longest string of Redis and room for what surrounds it.
	MaxBody = 512<<20 + 1<<20
)

// Errors of Parse. After one the stream cannot be trusted.
var (
	ErrFrameLength = errors.New("peer frame has an impossible length")
	ErrFrameType   = errors.New("peer frame has an unknown type")
)

// Frame is one message.
type Frame struct {
	Type  Type
	Flags uint8
	ID    uint64 // chosen by who asks, repeated by who answers
	Epoch uint64 // of the sender's ring
	Body  []byte
}

// Parse reads the frame at the front of b. n is its length, and Body is a slice of b. When b does not hold all of it, n is
// 0 and b must grow to need bytes at least.
func Parse(b []byte) (f Frame, n, need int, err error) {
	if len(b) < lengthSize {
		return f, 0, HeaderSize, nil
	}
	length := binary.BigEndian.Uint32(b)
	if length < HeaderSize-lengthSize || length > MaxBody+HeaderSize-lengthSize {
		return f, 0, 0, ErrFrameLength
	}
	if len(b) > lengthSize && (b[lengthSize] == 0 || Type(b[lengthSize]) > lastType) {
		return f, 0, 0, ErrFrameType
	}
	n = lengthSize + int(length)
	if len(b) < n {
		return f, 0, n, nil
	}
	f = Frame{
		Type:  Type(b[4]),
		Flags: b[5],
		ID:    binary.BigEndian.Uint64(b[6:]),
		Epoch: binary.BigEndian.Uint64(b[14:]),
		Body:  b[HeaderSize:n:n],
	}
	return f, n, 0, nil
}

// Append appends f.
func Append(b []byte, f Frame) []byte {
	return append(AppendHeader(b, f.Type, f.Flags, f.ID, f.Epoch, len(f.Body)), f.Body...)
}

// AppendHeader appends the header of a frame whose body of size bytes the caller appends.
func AppendHeader(b []byte, t Type, flags uint8, id, epoch uint64, size int) []byte {
	start := len(b)
	b = Begin(b, t, flags, id, epoch)
	setLength(b[start:], size+HeaderSize-lengthSize)
	return b
}

// Begin appends the header of a frame whose body's size is not known yet. The body is appended by the caller, who then
// calls Finish with the length that b had before.
func Begin(b []byte, t Type, flags uint8, id, epoch uint64) []byte {
	b = append(b, 0, 0, 0, 0, byte(t), flags)
	b = binary.BigEndian.AppendUint64(b, id)
	return binary.BigEndian.AppendUint64(b, epoch)
}

// Finish fills in the length of the frame that began at b[start] and ends with b.
func Finish(b []byte, start int) { setLength(b[start:], len(b)-start-lengthSize) }

// setLength writes a frame's length. A body over MaxBody is the caller's fault: the other side would refuse it.
func setLength(frame []byte, length int) {
	if length > MaxBody+HeaderSize-lengthSize {
		panic("peer: body over MaxBody")
	}
	binary.BigEndian.PutUint32(frame, uint32(length))
}
