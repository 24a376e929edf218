package respserver

import (
	"bytes"
	"sync"
)

const (
	// maxErrorWords bounds the words that are told apart: scripts make up their own.
	maxErrorWords = 128
	// maxErrorWord is the longest of them in bytes; longer ones count as ERR, as in Redis.
	maxErrorWord = 31
	otherErrors  = "ERRORSTATS_OVERFLOW"
)

// errorCounts counts error replies by the word that they begin with, for INFO. A loop counts, others read.
type errorCounts struct {
	mu     sync.Mutex
	byWord map[string]uint64
}

// count counts a reply if it is an error.
func (e *errorCounts) count(reply []byte) {
	if len(reply) == 0 || reply[0] != '-' {
		return
	}
	reply = reply[1:]
	word := []byte("ERR")
	if n := bytes.IndexByte(reply[:min(len(reply), maxErrorWord+1)], ' '); n >= 0 {
		word = reply[:n]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byWord == nil {
		e.byWord = map[string]uint64{}
	}
	if _, known := e.byWord[string(word)]; !known && len(e.byWord) >= maxErrorWords {
		word = []byte(otherErrors)
	}
	e.byWord[string(word)]++
}

func (e *errorCounts) reset() {
	e.mu.Lock()
	e.byWord = nil
	e.mu.Unlock()
}

// errorTotals are the counts of all loops.
func (srv *Server) errorTotals() (byWord map[string]uint64, total uint64) {
	byWord = map[string]uint64{}
	for _, st := range srv.loops {
		st.errors.mu.Lock()
		for word, n := range st.errors.byWord {
			byWord[word] += n
			total += n
		}
		st.errors.mu.Unlock()
	}
	return byWord, total
}
