//go:build portable || !linux

package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is one key of a Redis. Its state is "" while there is no key, else "=" and the value; of a list, "=" and the
// elements, a comma behind each.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		reply, next := execute(state.(string), input.(*op))
		o := input.(*op)
		return o.reply == "" || o.reply == reply, next
	},
	Equal: func(a, b any) bool { return a == b },
}

// execute says what a Redis would answer.
func execute(state string, o *op) (reply, next string) {
	value, exists := strings.CutPrefix(state, "=")
	switch o.kind {
	case "get":
		if !exists {
			return "$-1\r\n", state
		}
		return bulk(value), state
	case "set":
		return "+OK\r\n", "=" + o.arg
	case "getset":
		reply, _ = execute(state, &op{kind: "get"})
		return reply, "=" + o.arg
	case "setnx":
		if exists {
			return ":0\r\n", state
		}
		return ":1\r\n", "=" + o.arg
	case "append":
		return fmt.Sprintf(":%d\r\n", len(value)+len(o.arg)), "=" + value + o.arg
	case "del":
		if exists {
			return ":1\r\n", ""
		}
		return ":0\r\n", ""
	case "incr":
		n, _ := strconv.Atoi(value)
		return fmt.Sprintf(":%d\r\n", n+1), "=" + strconv.Itoa(n+1)
	case "lpush":
		value = o.arg + "," + value
		return fmt.Sprintf(":%d\r\n", strings.Count(value, ",")), "=" + value
	case "rpop":
		if !exists {
			return "$-1\r\n", state
		}
		all := strings.Split(strings.TrimSuffix(value, ","), ",")
		last := all[len(all)-1]
		if len(all) == 1 {
			return bulk(last), ""
		}
		return bulk(last), "=" + strings.Join(all[:len(all)-1], ",") + ","
	case "getl":
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", strings.Count(value, ","))
		for element := range strings.SplitSeq(strings.TrimSuffix(value, ","), ",") {
			if exists {
				b.WriteString(bulk(element))
			}
		}
		return b.String(), state
	}
	panic("no model of " + o.kind)
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// checkTime bounds how long the search for an order may take. It is never needed for what the clients here do.
const checkTime = 20 * time.Second

// check finds the keys for which there is no order of the operations in which a single Redis would have answered the same,
// and for each of them the reply that proves it.
func check(history []*op) (wrong map[string]*op) {
	byKey := map[string][]*op{}
	for _, o := range history {
		if !o.unknown() || !o.reads() {
			byKey[o.key] = append(byKey[o.key], o)
		}
	}
	for key, ops := range byKey {
		if explained(ops, math.MaxInt64-1) {
			continue
		}
		slices.SortFunc(ops, func(a, b *op) int { return cmp.Compare(a.ret, b.ret) })
		at := sort.Search(len(ops), func(i int) bool { return !explained(ops, ops[i].ret) })
		if wrong == nil {
			wrong = map[string]*op{}
		}
		wrong[key] = ops[min(at, len(ops)-1)]
	}
	return wrong
}

// explained tells whether there is such an order for what was known at a time.
func explained(ops []*op, until int64) bool {
	var known []porcupine.Operation
	for _, o := range ops {
		switch {
		case o.call > until, o.ret > until && o.reads():
		case o.ret > until:
			open := *o
			open.reply = ""
			known = append(known, porcupine.Operation{Input: &open, Call: o.call, Return: math.MaxInt64})
		default:
			known = append(known, porcupine.Operation{Input: o, Call: o.call, Return: o.ret})
		}
	}
	return porcupine.CheckOperationsTimeout(model, known, checkTime) == porcupine.Ok
}
