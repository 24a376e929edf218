package script

// wellKnown are the scripts of libraries that run as Go: the SHA1 of the text as the library sends it, what it is, and what
// stands for it. Some were spelled differently in former versions.
var wellKnown = []struct {
	sha, name string
	run       native
}{
	{"c3f8721cbb97f72bc19e972846bd7aaf91901658", "redis-py Lock release", deleteOwned},
	{"a4e8783852e6b949f9ef3a97212805108459a890", "redis-py Lock extend", extendOwned},
	{"4a484ac024e9b025224cd9f8e1d59dbf3c15d00d", "redis-py Lock extend, 2.10", addToOwned},
	{"1cac51482acf5858da00f6d685d68f886cd6b6b2", "redis-py Lock reacquire", reacquireOwned},

	{"4e92fdc63815b3a0a2dd1c1df3694de73607c88d", "redlock-py unlock", deleteOwned},

	{"96da70f7716f27d278a5218544df37fd8b0a5e4c", "node-redlock acquire, 5", takeAll},
	{"aed6f382e410db8ba7926d4e5e9aab410bf2a78a", "node-redlock extend, 5", extendAll},
	{"e4612211c9f8f51c257e26e056b0a654b3187242", "node-redlock release, 5", releaseAll},
	{"e5a322e2634ef59a516e8ea150cb085afafee684", "node-redlock lock, 4.1", takeAll},
	{"ce46f80993d5dac20dd066eb301a4e37994bdbed", "node-redlock extend, 4.2", extendAll},
	{"0f0f23b9048b36752b5be114f357ba083449f908", "node-redlock unlock, 4.2", releaseAll},
	{"862f31bf38e9b63ce28d6e9e5143551bb34ef981", "node-redlock lock, 3", take},
	{"a2c2e4c111924caec00216d4881ed37a644435ce", "node-redlock extend, 0.2", expireOwned},

	// These two are also what node-redlock 3 sends.
	{"cf0e94b2e9ffc7e04395cf88f7583fc309985910", "redislock release, 0.3", deleteOwned},
	{"a7aba3bc5d6e99b3003da8b9d80a63b9f4092ecf", "redislock refresh, 0.3", pexpireOwned},
	{"6484da7d58920897fdc22b7f9afd1a3d47524ea8", "redislock ttl, 0.3", pttlOwned},
	{"9470c810040e272ee6c579d8d4331aaf6332a7b1", "redislock release", deleteAllOwned},
	{"5a22d7e8431313862816d4416b5e46dd70fc340d", "redislock refresh", refreshAllOwned},
	{"66e1084c2d842a7e8c271925aae90219fac4e129", "redislock ttl", shortestOwned},
	{"eb0c00d98f6f33b4262419a509002884540f30be", "redislock obtain", obtainAll},

	{"00583931c4e4d483f6233879c133c71ed5393f9d", "redsync delete, 1 to 4.11", deleteOwned},
	{"e950836ed1e694540c503ef9972b8de518044d3b", "redsync delete", deleteOrExpired},
	{"53692746b44cae854b8dfa32b177218bbe40baee", "redsync touch, 1.2", pexpireOwned},
	{"d75bb8b5bd13532ddedd17762e772346e39b321e", "redsync touch", pexpireOwned},
	{"b6b55c439e02c6f52ffb8be7ec8c0d0ac816ea79", "redsync touch with set", touchOrTake},

	{"647c65a442733a1aa440f99908d249d13b4d6c4a", "Laravel lock release", deleteOwned},
	{"d5f94f1848f0c54fff99d99dbc4d54184a157c02", "Laravel lock refresh", refreshOrPersistOwned},
	{"a08c9c69b7c07ae2485190873b90d128a23e502d", "Laravel cache add", addExpiring},
	{"a50243715157b186c5162c69e02eff3bf0c7994a", "Laravel concurrency limiter release", deleteOwned},

	{"81dbecea94d2d10514719b20ed51faf711529d9d", "rate-limit-redis increment", countInWindow},
	{"3f424a504987d231baa2e19159bb5def8ad32f87", "rate-limit-redis increment, 4.1", countThenExpire(1)},
	{"b829ec02dca78a148dfc75dd3c86f488ed007c68", "rate-limit-redis increment, 4.2", countThenExpire(0)},
	{"6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a", "rate-limit-redis get", windowNow},

	{"a1de965f42e177aa339706bd580f049065eca79a", "rate-limiter-flexible increment", countPoints},

	{"f52a5b566060d79fd321d695df55bc918339c4aa", "redis_rate allow", gcraExactly(true)},
	{"b51fcf1fec2622e401ecd1495ba719a525362891", "redis_rate allow, 9.1", gcraExactly(false)},
	{"054143318f521948424aa25df61d7f7ba835a9d7", "redis_rate allow at most", gcraAtMost(true)},
	{"a6aad3b47e739a75dad60abfc23778c5cf863397", "redis_rate allow at most, 9.1", gcraAtMost(false)},

	{"2d1257e1db0d808eb147a6c89712c69ae517c704", "fixed window of the Redis documentation", countASecond},
}

// nativeOf finds what stands for a script.
func nativeOf(sha string) native {
	for i := range wellKnown {
		if wellKnown[i].sha == sha {
			return wellKnown[i].run
		}
	}
	return nil
}
