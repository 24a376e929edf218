// HOT PATH

package classify

import "strings"

// keyword is a word that classification looks for. Words that always mean the same here share one.
type keyword uint8

const (
	kwNone keyword = iota
	kwAbort
	kwAll
	kwAnalyze
	kwAnd
	kwAs
	kwAtomic
	kwAuthorization
	kwBegin
	kwBy
	kwChain
	kwCharacter // types that VARYING may follow
	kwCharacteristics
	kwCommit
	kwConstraints
	kwCopy
	kwCreate
	kwCube // CUBE, ROLLUP: syntax in GROUP BY only
	kwCycle
	kwDeallocate
	kwDefault
	kwDelete
	kwDiscard
	kwDistinct
	kwEnd
	kwExecute
	kwExplain
	kwFor
	kwFrom
	kwGroup
	kwGrouping
	kwHaving
	kwHold
	kwInsert
	kwIlike
	kwInto
	kwJoin
	kwKey
	kwListen
	kwNotify
	kwLoad
	kwLocal
	kwLock
	kwMaterialized
	kwMerge
	kwNo
	kwNot
	kwOn
	kwOnly
	kwOperator
	kwOr
	kwOrder
	kwPartition
	kwPrepare
	kwPrepared
	kwRead
	kwRecursive
	kwRelease
	kwReplace
	kwReset
	kwRole
	kwRollback
	kwSample // BERNOULLI, SYSTEM
	kwSearch
	kwSelect
	kwServerSetting // settings that tell of the server's role
	kwSession
	kwSet
	kwSets
	kwShare
	kwShow
	kwSavepoint
	kwStart
	kwStdout
	kwSyntax // other words that may stand in front of a parenthesis and cannot name a function
	kwTable
	kwTablesample
	kwTemp
	kwTime
	kwTo
	kwTransaction
	kwTrue
	kwUnlisten
	kwUpdate
	kwValues
	kwVarying
	kwVerbose
	kwWhere
	kwWith
	kwWriteMode // WRITE
	kwWriteVerb // first words of statements that only write
	kwZone
)

// keywordWords spells the keywords.
var keywordWords = [...]struct {
	keyword keyword
	words   string // separated by spaces, in lower case
}{
	{kwAbort, "abort"},
	{kwAll, "all"},
	{kwAnalyze, "analyze analyse"},
	{kwAnd, "and"},
	{kwAs, "as"},
	{kwAtomic, "atomic"},
	{kwAuthorization, "authorization"},
	{kwBegin, "begin"},
	{kwSample, "bernoulli system"},
	{kwBy, "by"},
	{kwChain, "chain"},
	{kwCharacter, "bit char character nchar"},
	{kwCharacteristics, "characteristics"},
	{kwCommit, "commit"},
	{kwConstraints, "constraints"},
	{kwCopy, "copy"},
	{kwCreate, "create"},
	{kwCube, "cube rollup"},
	{kwCycle, "cycle"},
	{kwDeallocate, "deallocate"},
	{kwDefault, "default"},
	{kwDelete, "delete"},
	{kwDiscard, "discard"},
	{kwDistinct, "distinct"},
	{kwEnd, "end"},
	{kwExecute, "execute"},
	{kwExplain, "explain"},
	{kwFor, "for"},
	{kwFrom, "from"},
	{kwGroup, "group"},
	{kwGrouping, "grouping"},
	{kwHaving, "having"},
	{kwHold, "hold"},
	{kwInsert, "insert"},
	{kwInto, "into"},
	{kwIlike, "ilike"},
	{kwJoin, "join"},
	{kwKey, "key"},
	{kwListen, "listen"},
	{kwLoad, "load"},
	{kwNotify, "notify"},
	{kwLocal, "local global"},
	{kwLock, "lock"},
	{kwMaterialized, "materialized"},
	{kwMerge, "merge"},
	{kwNo, "no"},
	{kwNot, "not"},
	{kwOn, "on"},
	{kwOnly, "only"},
	{kwOperator, "operator"},
	{kwOr, "or"},
	{kwOrder, "order"},
	{kwPartition, "partition"},
	{kwPrepare, "prepare"},
	{kwPrepared, "prepared"},
	{kwRead, "read"},
	{kwRecursive, "recursive"},
	{kwRelease, "release"},
	{kwReplace, "replace"},
	{kwReset, "reset"},
	{kwRole, "role"},
	{kwRollback, "rollback"},
	{kwSavepoint, "savepoint"},
	{kwSearch, "search"},
	{kwSelect, "select"},
	{kwSession, "session"},
	{kwSet, "set"},
	{kwSets, "sets"},
	{kwShare, "share"},
	{kwShow, "show"},
	{kwStart, "start"},
	{kwStdout, "stdout stdin"},
	{kwTable, "table"},
	{kwTablesample, "tablesample"},
	{kwTemp, "temp temporary"},
	{kwTime, "time"},
	{kwTo, "to"},
	{kwTransaction, "transaction work"},
	{kwServerSetting, "transaction_read_only default_transaction_read_only in_hot_standby"},
	{kwTrue, "true"},
	{kwUnlisten, "unlisten"},
	{kwUpdate, "update"},
	{kwValues, "values"},
	{kwVarying, "varying"},
	{kwVerbose, "verbose"},
	{kwWhere, "where"},
	{kwWith, "with"},
	{kwWriteMode, "write"},
	{kwZone, "zone"},
	{kwWriteVerb, "alter checkpoint close cluster comment declare drop fetch grant import move " +
		"reassign refresh reindex revoke security truncate vacuum"},
	// Reserved words, and words that the grammar keeps from naming functions (col_name_keyword in gram.y).
	{kwSyntax, "current_time current_timestamp localtime localtimestamp " +
		"any array asymmetric between both case cast check coalesce else except exists extract " +
		"greatest in intersect interval lateral leading least limit normalize nullif offset overlay " +
		"placing position returning row some substring symmetric then trailing treat trim union using variadic when " +
		"window xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize " +
		"xmltable dec decimal float national numeric timestamp varchar"},
}

// keywordSlots is the size of the hash table, with room enough that most words meet an empty slot at once.
const keywordSlots = 1 << 10

// spelling is a word and the keyword that it is.
type spelling struct {
	word    string
	keyword keyword
}

// keywordTable finds a word by keywordHash, and by linear probing from there. A slot is the place in spellings, 0 if it is
// empty: so small a table stays in the processor's cache.
var keywordTable, spellings = func() (t [keywordSlots]uint8, all []spelling) {
	all = append(all, spelling{})
	for _, k := range keywordWords {
		for word := range strings.FieldsSeq(k.words) {
			h := keywordHash([]byte(word))
			for t[h] != 0 {
				h = (h + 1) % keywordSlots
			}
			t[h] = uint8(len(all))
			all = append(all, spelling{word, k.keyword})
		}
	}
	if len(all) > 1<<8 {
		panic("too many keywords for a byte")
	}
	return t, all
}()

// keywordHash is the same for a word in any case. w has two bytes or more.
func keywordHash(w []byte) uint {
	n := uint(len(w))
	return (n*61 + uint(w[0]|0x20)*31 + uint(w[1]|0x20)*7 + uint(w[n/2]|0x20)*3 + uint(w[n-1]|0x20)*131) % keywordSlots
}

// longestKeyword is default_transaction_read_only.
const longestKeyword = 29

// lookupKeyword recognises a word in any case.
func lookupKeyword(w []byte) keyword {
	if len(w) < 2 || len(w) > longestKeyword {
		return kwNone
	}
	for h := keywordHash(w); ; h = (h + 1) % keywordSlots {
		i := keywordTable[h]
		if i == 0 {
			return kwNone
		}
		if s := &spellings[i]; equalFold(w, s.word) {
			return s.keyword
		}
	}
}

// equalFold compares w with a word in lower case.
func equalFold(w []byte, word string) bool {
	if len(w) != len(word) {
		return false
	}
	for i, c := range w {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// precedesParenthesis tells whether w, with the word prev before it, is syntax in front of a parenthesis and not the
// name of a function.
func (w keyword) precedesParenthesis(prev keyword) bool {
	switch w {
	case kwSyntax, kwAll, kwAnd, kwAs, kwCharacter, kwDefault, kwDistinct, kwFor, kwFrom, kwGroup, kwGrouping, kwHaving, kwInto,
		kwNot, kwOn, kwOnly, kwOr, kwSelect, kwTable, kwTime, kwTo, kwValues, kwWhere, kwWith:
		return true
	case kwBy:
		return prev == kwOrder || prev == kwGroup || prev == kwPartition
	case kwMaterialized:
		return prev == kwAs || prev == kwNot
	case kwSets:
		return prev == kwGrouping
	case kwSample:
		return prev == kwTablesample
	case kwZone:
		return prev == kwTime
	case kwVarying:
		return prev == kwCharacter
	}
	return false
}
