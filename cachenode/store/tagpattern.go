package store

import (
	"bytes"
	"fmt"
	"strings"
)

// TagPattern makes a tag of the name of a key. {1} to {9} in it stand for the pieces of the name behind the prefix of the rule,
// between colons. By "user:{1}" of the rule for "user:" the key "user:7:cart" has the tag "user:7".
type TagPattern struct {
	texts  []string // before, between and behind the pieces
	pieces []int    // from 0
}

// ParseTagPattern says what is wrong with a pattern.
func ParseTagPattern(s string) (p TagPattern, err error) {
	rest := s
	for {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			p.texts = append(p.texts, rest)
			break
		}
		if len(rest) < open+3 || rest[open] != '{' || rest[open+1] < '1' || rest[open+1] > '9' || rest[open+2] != '}' {
			return p, fmt.Errorf("tag %q: braces hold the number of a piece of the key behind its prefix, {1} to {9}", s)
		}
		p.texts = append(p.texts, rest[:open])
		p.pieces = append(p.pieces, int(rest[open+1]-'1'))
		rest = rest[open+3:]
	}
	if s == "" || len(s) > MaxTag {
		return p, fmt.Errorf("tag %q: must have 1 to %d bytes", s, MaxTag)
	}
	return p, nil
}

// append appends the tag of a key whose name goes on like this behind the prefix. It reports false for one that lacks a piece.
// A tag that is too long is cut: those that begin alike are one.
func (p TagPattern) append(tag, name []byte) ([]byte, bool) {
	for i, text := range p.texts {
		if i > 0 {
			rest := name
			for range p.pieces[i-1] {
				colon := bytes.IndexByte(rest, ':')
				if colon < 0 {
					return nil, false
				}
				rest = rest[colon+1:]
			}
			if colon := bytes.IndexByte(rest, ':'); colon >= 0 {
				rest = rest[:colon]
			}
			if len(rest) == 0 {
				return nil, false
			}
			tag = append(tag, rest[:min(len(rest), MaxTag-len(tag))]...)
		}
		tag = append(tag, text[:min(len(text), MaxTag-len(tag))]...)
	}
	return tag, true
}
