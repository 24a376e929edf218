package app

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// readSecret returns a file's content without white space around it.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err // names the file
	}
	return strings.TrimSpace(string(b)), nil
}

// readKey reads a key of 16, 24 or 32 bytes: as they are, or else in base64.
func readKey(path string) ([]byte, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	if key := []byte(text); validKey(key) {
		return key, nil
	}
	if key, err := base64.StdEncoding.DecodeString(text); err == nil && validKey(key) {
		return key, nil
	}
	return nil, fmt.Errorf("%s: a key has 16, 24 or 32 bytes, as they are or in base64: try `openssl rand -base64 32`", path)
}

func validKey(key []byte) bool { return len(key) == 16 || len(key) == 24 || len(key) == 32 }
