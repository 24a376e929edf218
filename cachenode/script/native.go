package script

import "github.com/outrigger-proxy/outrigger/cachenode/command"

// native does what a well-known script does. It reports false, having done nothing, for what it leaves to the script.
type native func(c *command.Context, keys, argv [][]byte) bool

// natives are the scripts that run as Go, by the SHA1 of their text.
var natives = map[string]native{}
