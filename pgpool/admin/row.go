package admin

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/jackc/pgproto3/v2"
)

// Types of columns (pg_type.dat).
const (
	oidBytea   = 17
	oidInt8    = 20
	oidInt4    = 23
	oidText    = 25
	oidNumeric = 1700
)

// field is a column as the client sees it.
type field struct {
	name string
	oid  uint32
}

// row holds a value for each field: a string for text, an int for int4, an int64 for int8, a uint64 for numeric; nil for
// null.
type row []any

// column is a field with its value in a T.
type column[T any] struct {
	field
	value func(*T) any
}

func text[T any](name string, get func(*T) string) column[T] {
	return column[T]{field{name, oidText}, func(t *T) any { return get(t) }}
}

// int4 shows values out of its range as the nearest that is in it.
func int4[T any](name string, get func(*T) int) column[T] {
	return column[T]{field{name, oidInt4}, func(t *T) any { return get(t) }}
}

// int8 shows values out of its range as the nearest that is in it.
func int8[T any](name string, get func(*T) uint64) column[T] {
	return column[T]{field{name, oidInt8}, func(t *T) any { return int64(min(get(t), math.MaxInt64)) }}
}

// int8OrNull shows a negative number as null.
func int8OrNull[T any](name string, get func(*T) int64) column[T] {
	return column[T]{field{name, oidInt8}, func(t *T) any {
		if n := get(t); n >= 0 {
			return n
		}
		return nil
	}}
}

func numeric[T any](name string, get func(*T) uint64) column[T] {
	return column[T]{field{name, oidNumeric}, func(t *T) any { return get(t) }}
}

// textOrNull shows an empty string as null.
func textOrNull[T any](name string, get func(*T) string) column[T] {
	return column[T]{field{name, oidText}, func(t *T) any {
		if s := get(t); s != "" {
			return s
		}
		return nil
	}}
}

func null[T any](name string, oid uint32) column[T] {
	return column[T]{field{name, oid}, func(*T) any { return nil }}
}

// absent is a column of a table that never has rows.
func absent(name string, oid uint32) column[struct{}] { return null[struct{}](name, oid) }

// appendRowDescription appends the fields with the formats that the rows will have.
func appendRowDescription(dst []byte, fields []field, formats formats) []byte {
	var d pgproto3.RowDescription
	for i, f := range fields {
		size := int16(-1)
		switch f.oid {
		case oidInt4:
			size = 4
		case oidInt8:
			size = 8
		}
		d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte(f.name), DataTypeOID: f.oid, DataTypeSize: size,
			TypeModifier: -1, Format: formats.of(i)})
	}
	return encode(dst, &d)
}

func appendRow(dst []byte, r row, formats formats) []byte {
	d := pgproto3.DataRow{Values: make([][]byte, len(r))}
	for i, v := range r {
		binaryFormat := formats.of(i) == formatBinary
		switch v := v.(type) {
		case string:
			d.Values[i] = []byte(v)
		case int:
			n := min(max(v, math.MinInt32), math.MaxInt32)
			if binaryFormat {
				d.Values[i] = binary.BigEndian.AppendUint32(nil, uint32(int32(n)))
			} else {
				d.Values[i] = strconv.AppendInt(nil, int64(n), 10)
			}
		case int64:
			if binaryFormat {
				d.Values[i] = binary.BigEndian.AppendUint64(nil, uint64(v))
			} else {
				d.Values[i] = strconv.AppendInt(nil, v, 10)
			}
		case uint64:
			if binaryFormat {
				d.Values[i] = binaryNumeric(v)
			} else {
				d.Values[i] = strconv.AppendUint(nil, v, 10)
			}
		}
	}
	return encode(dst, &d)
}

// binaryNumeric encodes n as numeric_send does: count of digits, weight of the first, sign, digits after the point, and
// the digits, which are in base 10000.
func binaryNumeric(n uint64) []byte {
	var digits []uint16
	for ; n > 0; n /= 10000 {
		digits = append(digits, uint16(n%10000))
	}
	slices.Reverse(digits)
	b := binary.BigEndian.AppendUint16(nil, uint16(len(digits)))
	b = binary.BigEndian.AppendUint16(b, uint16(max(len(digits)-1, 0)))
	b = append(b, 0, 0, 0, 0)
	for _, d := range digits {
		b = binary.BigEndian.AppendUint16(b, d)
	}
	return b
}

// encode appends m. The error is for counts beyond 65535 and messages of a gigabyte, which a console has none of.
func encode(dst []byte, m pgproto3.BackendMessage) []byte {
	out, err := m.Encode(dst)
	if err != nil {
		panic(err)
	}
	return out
}
