package classify

import "bytes"

// Listening is one LISTEN or UNLISTEN.
type Listening struct {
	Unlisten bool
	Channel  string // as a server knows it: folded, without quotes; empty for UNLISTEN *
}

// Listenings reads a string of nothing but LISTEN and UNLISTEN statements. ok is false for everything else, and for names
// that only the server can make out: those it would cut off, those written in escapes, and those beyond ASCII without
// quotes, whose case depends on its encoding. Reserved words pass, which the server refuses.
func Listenings(sql []byte) (list []Listening, ok bool) {
	l := lexer{src: sql}
	for {
		t := l.next()
		switch {
		case t.kind == kindSemi:
			continue
		case t.kind == kindEOF:
			return list, len(list) > 0 && !l.odd
		case t.word != kwListen && t.word != kwUnlisten:
			return nil, false
		}
		on := Listening{Unlisten: t.word == kwUnlisten}
		t = l.next()
		text := l.src[t.start:t.end]
		switch {
		case on.Unlisten && t.kind == kindOther && string(text) == "*":
		case t.kind == kindWord && isASCII(text):
			on.Channel = string(bytes.ToLower(text))
		case t.kind == kindQuoted && len(text) > 2 && text[0] == '"' && !l.odd:
			on.Channel = string(bytes.ReplaceAll(text[1:len(text)-1], []byte(`""`), []byte(`"`)))
		default:
			return nil, false
		}
		if t = l.next(); len(on.Channel) > MaxName || t.kind != kindSemi && t.kind != kindEOF {
			return nil, false
		}
		list = append(list, on)
	}
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
