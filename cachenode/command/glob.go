package command

// Match tells whether s matches a pattern of KEYS, SCAN or PSUBSCRIBE: *, ?, [abc], [^a-z], and \ before a character
// that means itself. It follows stringmatchlen of Redis, but goes back only to the last star, so that no pattern takes
// more than len(pattern) times len(s) steps.
func Match(pattern, s []byte) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if i == len(s) && p == len(pattern) {
			return true
		}
		if i < len(s) && p < len(pattern) {
			if next, ok := matchOne(pattern, p, s[i]); ok {
				p, i = next, i+1
				continue
			}
		}
		if star < 0 || mark >= len(s) {
			return false
		}
		mark++
		p, i = star+1, mark
	}
}

// matchOne matches one character with the element of the pattern at p; next is the position behind the element.
func matchOne(pattern []byte, p int, ch byte) (next int, ok bool) {
	switch c := pattern[p]; {
	case c == '?':
		return p + 1, true
	case c == '\\' && p+1 < len(pattern):
		return p + 2, pattern[p+1] == ch
	case c != '[':
		return p + 1, c == ch
	}
	p++
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	for ; p < len(pattern) && pattern[p] != ']'; p++ {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			ok = ok || pattern[p] == ch
		case p+2 < len(pattern) && pattern[p+1] == '-':
			lo, hi := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			ok = ok || lo <= ch && ch <= hi
			p += 2
		default:
			ok = ok || pattern[p] == ch
		}
	}
	return min(p+1, len(pattern)), ok != not
}
