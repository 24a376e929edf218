// Package keyring holds the keys that the members of a cluster share, and what is derived from them: who has one of the keys
// is a member, and nobody else is.
//
//   - keyring.go: the keys, their file, their rotation
//   - identity.go: TLS between members
package keyring

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// maxKeys bounds a ring. A rotation takes two.
const maxKeys = 8

// Keyring is the keys of one member. Any goroutine may use it.
type Keyring struct {
	cluster, member string // constant after New
	current         atomic.Pointer[generation]
}

// generation is a ring between two changes. It is immutable.
type generation struct {
	keys [][]byte
	identity
}

// New makes the ring of a member of a cluster. Members use the first key, and understand who uses any. Clusters of different
// names that have the same keys are strangers to each other nonetheless.
func New(cluster, member string, keys [][]byte) (*Keyring, error) {
	r := &Keyring{cluster: cluster, member: member}
	return r, r.Set(keys)
}

// Set puts other keys in the place of those there are. Connections that were made before go on.
//
// A key is replaced in three steps, each done on all members before the next: the new one is added behind the old one, which
// all then understand; it is put first, and used; the old one is taken away.
func (r *Keyring) Set(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return fmt.Errorf("%d keys: there must be 1 to %d", len(keys), maxKeys)
	}
	for i, key := range keys {
		if !valid(key) {
			return errLength
		}
		if slices.ContainsFunc(keys[:i], func(k []byte) bool { return string(k) == string(key) }) {
			return fmt.Errorf("key %d is there twice", i+1)
		}
	}
	id, err := newIdentity(r.cluster, r.member, keys)
	if err != nil {
		return err
	}
	r.current.Store(&generation{keys, id})
	return nil
}

// Keys returns the keys, the one in use first. They are not to be changed.
func (r *Keyring) Keys() [][]byte { return r.current.Load().keys }

var errLength = errors.New("a key has 16, 24 or 32 bytes, as they are or in base64: try `openssl rand -base64 32`")

// Parse reads the keys of a file: one a line, as they are or in base64. Empty lines, and those that begin with #, do not count.
func Parse(text string) (keys [][]byte, err error) {
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key := []byte(line)
		if !valid(key) {
			if key, err = base64.StdEncoding.DecodeString(line); err != nil || !valid(key) {
				return nil, fmt.Errorf("line %d: %w", n+1, errLength)
			}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errLength
	}
	return keys, nil
}

func valid(key []byte) bool { return len(key) == 16 || len(key) == 24 || len(key) == 32 }
