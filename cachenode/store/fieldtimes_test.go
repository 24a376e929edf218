package store

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// TestFieldTimesModel runs random commands on a hash whose fields expire and on a map, under a clock that jumps.
func TestFieldTimesModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := New(Config{})
	type value struct {
		v  string
		at int64
	}
	models := map[string]map[string]value{}
	now := int64(t0)
	var tx Tx
	for step := range 60_000 {
		name := "h" + strconv.Itoa(rnd.IntN(4))
		model := models[name]
		if model == nil {
			model = map[string]value{}
			models[name] = model
		}
		maps.DeleteFunc(model, func(_ string, v value) bool { return v.at != 0 && v.at <= now })
		k := s.Key([]byte(name))
		tx.Begin(s, []Key{k}, now, 0)
		it := tx.Peek(&k)
		if (it != nil) != (len(model) > 0) || it != nil && it.Dict().Len() != len(model) {
			t.Fatalf("step %d: %s: there %v, want %d fields", step, name, it != nil, len(model))
		}
		if it == nil {
			it = tx.Create(&k, KindHash)
		}
		d := it.Dict()
		for range 1 + rnd.IntN(8) {
			f := strconv.Itoa(rnd.IntN(100))
			switch _, had := model[f]; rnd.IntN(5) {
			case 0:
				if d.Delete([]byte(f)) != had {
					t.Fatalf("step %d: Delete disagrees", step)
				}
				delete(model, f)
			case 1:
				v := strconv.Itoa(rnd.IntN(1e9))
				d.Set([]byte(f), []byte(v))
				model[f] = value{v: v}
			default:
				if !had {
					continue
				}
				at := now + 1 + rnd.Int64N(3000)
				if rnd.IntN(5) == 0 {
					at = 0
				}
				d.ExpireField(d.Find([]byte(f)), at)
				model[f] = value{model[f].v, at}
			}
		}
		for f, want := range model {
			i := d.Find([]byte(f))
			if i < 0 {
				t.Fatalf("step %d: field %s is gone", step, f)
			}
			if _, v := d.At(i); string(v) != want.v || d.FieldExpireAt(i) != want.at {
				t.Fatalf("step %d: field %s = %q until %d, want %v", step, f, v, d.FieldExpireAt(i), want)
			}
		}
		if rnd.IntN(40) == 0 {
			tx.Expire(&k, it, now+rnd.Int64N(5000)+1)
			tx.Update(&k, it)
			if d.Len() > 0 {
				tx.Delete(&k)
			}
			clear(model)
		} else {
			tx.Update(&k, it)
		}
		tx.End()
		if rnd.IntN(20) == 0 {
			now += rnd.Int64N(1500)
			if rnd.IntN(2) == 0 {
				s.Expire(now, 1+rnd.IntN(50))
			}
		}
		if step%2000 == 0 {
			check(t, s)
			var e Entry
			if s.Entry([]byte(name), now, &e) {
				other := New(Config{})
				if ok, err := other.Apply(&e, now); !ok || err != nil {
					t.Fatal(ok, err)
				}
				check(t, other)
				var again Entry
				other.Entry([]byte(name), now, &again)
				if string(AppendPayload(nil, &e)) != string(AppendPayload(nil, &again)) {
					t.Fatalf("step %d: not the same on another node", step)
				}
			}
		}
	}
	for now += 10_000; s.Expire(now, 1000) > 0; {
	}
	check(t, s)
	for p := range Partitions {
		s.DropPartition(p)
	}
	if check(t, s); s.Used() != 0 {
		t.Errorf("%d bytes charged for nothing", s.Used())
	}
}

// TestFieldsAreReclaimed holds the wheel to fields that nobody reads.
func TestFieldsAreReclaimed(t *testing.T) {
	s := New(Config{})
	var tx Tx
	const fields = 5000
	k := s.Key([]byte("h"))
	tx.Begin(s, []Key{k}, t0, 0)
	it := tx.Create(&k, KindHash)
	for i := range fields {
		it.Dict().Set([]byte(strconv.Itoa(i)), []byte("v"))
		it.Dict().ExpireField(i, t0+1000+int64(i))
	}
	tx.Update(&k, it)
	tx.End()
	for now := int64(t0); now < t0+1000+fields; now += 100 {
		for s.Expire(now, 1000) > 0 {
		}
		left := 0
		if s.CountDB(0, nil) > 0 {
			left = s.shards[k.shard()].find(&k).Dict().Len()
		}
		if least := fields - int(max(0, now-t0-999)); left < least || left > least+64 {
			t.Fatalf("%d ms: %d fields left, want about %d", now-t0, left, least)
		}
		check(t, s)
	}
	for s.Expire(t0+fields+2000, 1000) > 0 {
	}
	if s.CountDB(0, nil) != 0 || s.Used() != 0 {
		t.Errorf("%d keys, %d bytes left", s.CountDB(0, nil), s.Used())
	}
}

// A hash whose fields all expire at once is gone with the next read, which does not take them one by one.
func TestAllFieldsExpireAtOnce(t *testing.T) {
	const n = 200_000
	s := New(Config{})
	k := s.Key([]byte("h"))
	var tx Tx
	began := time.Now()
	tx.Begin(s, []Key{k}, t0, 0)
	it := tx.Create(&k, KindHash)
	for i := range n {
		it.Dict().Set([]byte(strconv.Itoa(i)), []byte("v"))
		it.Dict().ExpireField(i, t0+1000+int64(i%100))
	}
	tx.Update(&k, it)
	tx.End()
	filled := time.Since(began)
	check(t, s)
	began = time.Now()
	tx.Begin(s, []Key{k}, t0+2000, 0)
	if tx.Get(&k) != nil {
		t.Error("still there")
	}
	tx.End()
	if took := time.Since(began); took > filled/4 {
		t.Errorf("a read took %v, filling the hash %v", took, filled)
	}
	if check(t, s); s.Used() != 0 {
		t.Errorf("%d bytes are left", s.Used())
	}
}
