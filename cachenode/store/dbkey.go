package store

// Databases is the number of logical databases, as in Redis.
const Databases = 16

// The ring, replication and hand-off know one flat key space. A key of database 0 is stored as it is, unless it begins
// with a byte below 16: then a zero byte goes in front. A key of database 1 to 15 has its number in front. So the
// usual key costs nothing and every stored key reads back in one way only.

// StoredKey returns the flat form of key, appended to scratch where it is not key itself.
func StoredKey(scratch []byte, db int, key []byte) []byte {
	if db == 0 && (len(key) == 0 || key[0] >= Databases) {
		return key
	}
	scratch = append(scratch, byte(db))
	return append(scratch, key...)
}

// SplitKey undoes StoredKey. key is a slice of stored.
func SplitKey(stored []byte) (db int, key []byte) {
	if len(stored) == 0 || stored[0] >= Databases {
		return 0, stored
	}
	return int(stored[0]), stored[1:]
}
