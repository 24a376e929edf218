package app

import (
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
