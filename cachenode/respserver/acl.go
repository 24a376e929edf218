package respserver

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// denial is the error for a command that is not allowed (getAclErrorMessage in Redis's acl.c).
func denial(v acl.Verdict, spec *command.Spec) string {
	switch v {
	case acl.NoCommand:
		return "this user has no permissions to run the '" + spec.Name + "' command"
	case acl.NoKey, acl.NoPattern:
		return "this user has no permissions to access one of the keys used as arguments"
	}
	return "this user has no permissions to access one of the channels used as arguments"
}

// permitted tells whether the session may run a command; when not, the error is replied and logged.
func (s *session) permitted(spec *command.Spec, args [][]byte) bool {
	u := s.account.User()
	if u.Free() {
		return true
	}
	v, at := u.Check(spec, args)
	if v == acl.Allowed {
		return true
	}
	context := "toplevel"
	if s.inMulti() {
		context = "multi"
	}
	s.logDenial(v, context, spec, args, at)
	s.spoil()
	refusal := "NOPERM " + denial(v, spec)
	if v == acl.NoPattern {
		refusal = "ERR " + strings.ToUpper(string(args[at])) + " option of SORT denied due to insufficient ACL permissions."
	}
	if spec.Name == "exec" {
		s.dropTransaction()
		refusal = "EXECABORT Transaction discarded because of: " + refusal
	}
	s.fail(refusal)
	return false
}

func (s *session) logDenial(v acl.Verdict, context string, spec *command.Spec, args [][]byte, at int) {
	reason, object := "command", spec.Name
	switch v {
	case acl.NoKey:
		reason, object = "key", string(args[at])
	case acl.NoPattern:
		reason, object = "key", string(args[at+1])
	case acl.NoChannel:
		reason, object = "channel", string(args[at])
	}
	s.st.srv.denials.add(denialEntry{reason: reason, context: context, object: object, user: s.account.User().Name, client: s.describe()})
}

// scriptDenial is what a script is told (scriptVerifyACL in Redis's script.c).
var scriptDenial = map[acl.Verdict]string{
	acl.NoCommand: "can't run this command or subcommand",
	acl.NoKey:     "can't access at least one of the keys mentioned in the command arguments",
	acl.NoChannel: "can't publish to the channel mentioned in the command",
	acl.NoPattern: "can't access at least one of the keys mentioned in the command arguments",
}

// permit is what scripts of the session ask before each command, nil when everything is allowed.
func (s *session) permit() func(spec *command.Spec, args [][]byte) string {
	u := s.account.User()
	if u.Free() {
		return nil
	}
	return func(spec *command.Spec, args [][]byte) string {
		if sub := spec.Resolve(args); sub != nil {
			spec = sub
		}
		v, at := u.Check(spec, args)
		if v == acl.Allowed {
			return ""
		}
		s.logDenial(v, "lua", spec, args, at)
		return "The user executing the script " + scriptDenial[v]
	}
}

// logIn makes the session that of an account.
func (s *session) logIn(a *acl.Account) {
	s.account, s.authed = a, true
	name := a.User().Name
	s.update(func(i *clientInfo) { i.user = name })
}

// startOver makes the session that of whom it began as.
func (s *session) startOver() {
	s.account = s.st.srv.users.Default()
	u := s.account.User()
	s.authed = u.Enabled && u.NoPass
}

// tryLogIn checks user and password; a refusal is logged.
func (s *session) tryLogIn(name, password []byte) *acl.Account {
	a := s.st.srv.users.LogIn(name, password)
	if a == nil {
		s.st.srv.denials.add(denialEntry{reason: "auth", context: "toplevel", object: "AUTH", user: string(name), client: s.describe()})
	}
	return a
}

const (
	maxDenials      = 128
	denialsTogether = time.Minute // equal refusals within it are one entry
)

type denialEntry struct {
	reason, context, object, user, client string

	id             int64
	count          int64
	created, since time.Time
}

// denialLog is what ACL LOG tells, newest first.
type denialLog struct {
	mu      sync.Mutex
	next    int64
	totals  map[string]uint64 // by reason
	entries []denialEntry
}

func (l *denialLog) total(reason string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals[reason]
}

func (l *denialLog) add(e denialEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.totals == nil {
		l.totals = map[string]uint64{}
	}
	l.totals[e.reason]++
	now := time.Now()
	e.count, e.created, e.since, e.id = 1, now, now, l.next
	for i, old := range l.entries {
		if old.reason == e.reason && old.context == e.context && old.object == e.object && old.user == e.user && now.Sub(old.since) < denialsTogether {
			old.count++
			old.since, old.client = now, e.client
			copy(l.entries[1:i+1], l.entries[:i])
			l.entries[0] = old
			return
		}
	}
	l.next++
	if len(l.entries) == maxDenials {
		l.entries = l.entries[:maxDenials-1]
	}
	l.entries = slices.Insert(l.entries, 0, e)
}

// aclCommand is ACL.
func (s *session) aclCommand(sub string, args [][]byte) {
	srv := s.st.srv
	switch sub {
	case "whoami":
		s.text(s.account.User().Name)
	case "list":
		s.words(each(srv.users.All(), (*acl.User).String))
	case "users":
		s.words(each(srv.users.All(), func(u *acl.User) string { return u.Name }))
	case "cat":
		s.aclCat(args)
	case "getuser":
		s.aclGetUser(string(args[2]))
	case "setuser":
		s.aclSetUser(string(args[2]), strs(args[3:]))
	case "deluser":
		s.aclDelUser(args[2:])
	case "dryrun":
		s.aclDryRun(args)
	case "log":
		s.aclLog(args[2:])
	case "genpass":
		s.aclGenPass(args[2:])
	case "load", "save":
		s.fail("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.")
	}
}

func each[T any](list []T, text func(T) string) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = text(v)
	}
	return texts
}

func strs(args [][]byte) []string {
	return each(args, func(a []byte) string { return string(a) })
}

// words replies with an array of bulk strings.
func (s *session) words(list []string) {
	s.st.w = resp.AppendArray(s.st.w, len(list))
	for _, w := range list {
		s.text(w)
	}
}

func (s *session) aclCat(args [][]byte) {
	if len(args) > 3 {
		s.subcommandSyntax(args[1], "ACL")
		return
	}
	if len(args) == 2 {
		s.words(command.Categories)
		return
	}
	bit, ok := command.ParseCategory(string(args[2]))
	if !ok {
		s.fail("ERR Unknown category '" + string(args[2]) + "'")
		return
	}
	var names []string
	for _, spec := range s.st.srv.table.ByID() {
		if spec.Categories()&bit != 0 {
			names = append(names, spec.Name)
		}
	}
	s.words(names)
}

func (s *session) aclGetUser(name string) {
	a := s.st.srv.users.Find(name)
	if a == nil {
		s.st.w = resp.AppendNull(s.st.w, s.proto)
		return
	}
	u := a.User()
	s.st.w = resp.AppendMap(s.st.w, 6, s.proto)
	s.text("flags")
	flags := u.Flags()
	s.st.w = resp.AppendSet(s.st.w, len(flags), s.proto)
	for _, f := range flags {
		s.text(f)
	}
	s.text("passwords")
	s.words(u.Hashes())
	all := u.Permissions()
	s.permissions(all[0])
	s.text("selectors")
	s.st.w = resp.AppendArray(s.st.w, len(all)-1)
	for _, p := range all[1:] {
		s.st.w = resp.AppendMap(s.st.w, 3, s.proto)
		s.permissions(p)
	}
}

func (s *session) permissions(p acl.Permissions) {
	for _, pair := range [][2]string{{"commands", p.Commands}, {"keys", p.Keys}, {"channels", p.Channels}} {
		s.text(pair[0])
		s.text(pair[1])
	}
}

func (s *session) aclSetUser(name string, rules []string) {
	if strings.ContainsAny(name, " \x00") {
		s.fail("ERR Usernames can't contain spaces or null characters")
		return
	}
	if err := s.st.srv.users.Set(name, rules); err != nil {
		s.fail("ERR " + err.Error())
		return
	}
	s.st.srv.revoke()
	s.ok()
}

func (s *session) aclDelUser(names [][]byte) {
	n := int64(0)
	for _, name := range names {
		if string(name) == "default" {
			s.fail("ERR The 'default' user cannot be removed")
			return
		}
	}
	for _, name := range names {
		if s.st.srv.users.Delete(string(name)) {
			n++
		}
	}
	if s.account.Gone() {
		s.ending = true
	}
	s.st.srv.revoke()
	s.int(n)
}

// revoke closes the sessions whose user is gone, and those that listen to what their user may not hear any more.
func (srv *Server) revoke() {
	for _, other := range srv.list() {
		other.st.loop.Post(func() {
			if !other.closed && (other.account.Gone() && !other.ending || other.hearsTooMuch()) {
				other.conn.Close(errKilled)
			}
		})
	}
}

func (s *session) hearsTooMuch() bool {
	if s.subscribed == nil {
		return false
	}
	u := s.account.User()
	for kind, names := range s.subscribed {
		for name := range names {
			if !u.MayHear(name, topicKind(kind) == patternTopic) {
				return true
			}
		}
	}
	return false
}

func (s *session) aclDryRun(args [][]byte) {
	a := s.st.srv.users.Find(string(args[2]))
	if a == nil {
		s.fail("ERR User '" + string(args[2]) + "' not found")
		return
	}
	run := args[3:]
	spec := s.st.srv.table.Lookup(run[0])
	if spec != nil {
		spec = spec.Resolve(run)
	}
	if spec == nil {
		s.fail("ERR Command '" + string(run[0]) + "' not found")
		return
	}
	if !spec.ArityOK(len(run)) {
		s.st.w = command.AppendWrongArity(s.st.w, spec.Name)
		return
	}
	switch v, at := a.User().Check(spec, run); v {
	case acl.Allowed:
		s.ok()
	case acl.NoCommand:
		s.text("This user has no permissions to run the '" + spec.Name + "' command")
	case acl.NoKey, acl.NoPattern:
		s.text("This user has no permissions to access the '" + string(run[at]) + "' key")
	case acl.NoChannel:
		s.text("This user has no permissions to access the '" + string(run[at]) + "' channel")
	}
}

func (s *session) aclLog(args [][]byte) {
	l := &s.st.srv.denials
	count := 10
	if len(args) > 1 {
		s.subcommandSyntax([]byte("log"), "ACL")
		return
	}
	if len(args) == 1 {
		if command.EqualFold(args[0], "reset") {
			l.mu.Lock()
			l.entries = nil
			l.mu.Unlock()
			s.ok()
			return
		}
		n, ok := resp.ParseInt(args[0])
		if !ok {
			s.fail("ERR value is not an integer or out of range")
			return
		}
		count = int(max(0, min(n, maxDenials)))
	}
	l.mu.Lock()
	entries := slices.Clone(l.entries[:min(count, len(l.entries))])
	l.mu.Unlock()
	s.st.w = resp.AppendArray(s.st.w, len(entries))
	for _, e := range entries {
		s.st.w = resp.AppendMap(s.st.w, 10, s.proto)
		s.text("count")
		s.int(e.count)
		for _, pair := range [][2]string{{"reason", e.reason}, {"context", e.context}, {"object", e.object}, {"username", e.user}} {
			s.text(pair[0])
			s.text(pair[1])
		}
		s.text("age-seconds")
		s.st.w = resp.AppendDouble(s.st.w, time.Since(e.created).Round(time.Millisecond).Seconds(), s.proto)
		s.text("client-info")
		s.text(e.client)
		s.text("entry-id")
		s.int(e.id)
		s.text("timestamp-created")
		s.int(e.created.UnixMilli())
		s.text("timestamp-last-updated")
		s.int(e.since.UnixMilli())
	}
}

func (s *session) aclGenPass(args [][]byte) {
	bits := 256
	if len(args) > 1 {
		s.subcommandSyntax([]byte("genpass"), "ACL")
		return
	}
	if len(args) == 1 {
		n, err := strconv.Atoi(string(args[0]))
		if err != nil {
			s.fail("ERR value is not an integer or out of range")
			return
		}
		if n <= 0 || n > 4096 {
			s.fail("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096")
			return
		}
		bits = n
	}
	digits := (bits + 3) / 4
	b := make([]byte, (digits+1)/2)
	if _, err := rand.Read(b); err != nil {
		s.fail(fmt.Sprintf("ERR no random numbers: %v", err))
		return
	}
	s.text(hex.EncodeToString(b)[:digits])
}
