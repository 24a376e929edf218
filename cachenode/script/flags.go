package script

import "strings"

// flags are what the first line of a script says of it: "#!lua flags=no-writes,allow-oom".
type flags struct {
	declared bool // there is such a line
	noWrites bool
	allowOOM bool
}

// parseFlags reads the first line and returns the script without it. message says what is wrong.
func parseFlags(source string) (f flags, body, message string) {
	if !strings.HasPrefix(source, "#!") {
		return f, source, ""
	}
	end := strings.IndexByte(source, '\n')
	if end < 0 {
		return f, "", "Invalid script shebang"
	}
	f.declared = true
	words := strings.Split(source[:end], " ")
	if words[0] != "#!lua" {
		return f, "", "Unexpected engine in script shebang: " + words[0]
	}
	for _, word := range words[1:] {
		list, ok := strings.CutPrefix(word, "flags=")
		if !ok {
			return f, "", "Unknown lua shebang option: " + word
		}
		for flag := range strings.SplitSeq(list, ",") {
			switch flag {
			case "no-writes":
				f.noWrites = true
			case "allow-oom":
				f.allowOOM = true
			case "allow-stale", "no-cluster", "allow-cross-slot-keys", "":
			default:
				return f, "", "Unexpected flag in script shebang: " + flag
			}
		}
	}
	return f, source[end:], ""
}
