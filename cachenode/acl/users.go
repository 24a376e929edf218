package acl

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// maxUsers bounds them.
const maxUsers = 10_000

// Account is a user as sessions hold it: what the user may do can change under it.
type Account struct {
	user atomic.Pointer[User]
	gone atomic.Bool
}

// User is what the account may do now.
func (a *Account) User() *User { return a.user.Load() }

// Gone tells whether the user was deleted.
func (a *Account) Gone() bool { return a.gone.Load() }

// Users are all there are. It is safe for use by many goroutines.
type Users struct {
	table    *command.Table
	original *Account // default

	mu         sync.Mutex
	accounts   map[string]*Account
	configured configured // what Configure has taken over last
}

// configured is what a configuration says of users.
type configured struct {
	password string
	lines    []string
	names    []string // of the users in lines, and default
}

// NewUsers makes the users of lines, each a name and rules as ACL SETUSER takes them. There always is a user "default"; with
// a password for it, nobody else comes in as that. Passwords in lines are hashes only.
func NewUsers(t *command.Table, password string, lines []string) (*Users, error) {
	us := &Users{table: t, accounts: map[string]*Account{}}
	def := NewDefault()
	if password != "" {
		var err error
		if def, err = def.With(t, []string{">" + password}); err != nil {
			return nil, err
		}
	}
	us.original = us.put(def)
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		for _, w := range words[1:] {
			if w[0] == '>' || w[0] == '<' {
				return nil, fmt.Errorf("user %s: put the SHA-256 of the password as #hash, not the password", words[0])
			}
		}
		was := us.Find(words[0])
		u := New(words[0])
		if was != nil {
			if words[0] != "default" {
				return nil, fmt.Errorf("user %s is there twice", words[0])
			}
			u = was.User()
		}
		next, err := u.With(t, words[1:])
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", words[0], err)
		}
		us.put(next)
	}
	us.configured = configured{password, slices.Clone(lines), slices.Collect(maps.Keys(us.accounts))}
	return us, nil
}

// Configure takes over another password for "default", and other lines, as NewUsers does. Users that are in them no more are
// deleted; what Set has made otherwise stays. It does nothing, and reports so, while both are what they were.
func (us *Users) Configure(password string, lines []string) (changed bool, err error) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if was := us.configured; was.password == password && slices.Equal(was.lines, lines) {
		return false, nil
	}
	next, err := NewUsers(us.table, password, lines)
	if err != nil {
		return false, err
	}
	for _, name := range us.configured.names {
		if a := us.accounts[name]; a != nil && next.accounts[name] == nil {
			a.gone.Store(true)
			delete(us.accounts, name)
		}
	}
	for _, a := range next.accounts {
		us.put(a.User())
	}
	us.configured = next.configured
	return true, nil
}

// Default is the account of sessions that have not logged in.
func (us *Users) Default() *Account { return us.original }

// put stores a user under its name.
func (us *Users) put(u *User) *Account {
	a := us.accounts[u.Name]
	if a == nil {
		a = &Account{}
		us.accounts[u.Name] = a
	}
	a.user.Store(u)
	return a
}

// Find returns the account of a user, nil if there is none.
func (us *Users) Find(name string) *Account {
	us.mu.Lock()
	defer us.mu.Unlock()
	return us.accounts[name]
}

// Set changes a user by rules, or makes it.
func (us *Users) Set(name string, rules []string) error {
	us.mu.Lock()
	defer us.mu.Unlock()
	u := New(name)
	if a := us.accounts[name]; a != nil {
		u = a.User()
	} else if len(us.accounts) >= maxUsers {
		return errors.New("too many users")
	}
	next, err := u.With(us.table, rules)
	if err != nil {
		return err
	}
	us.put(next)
	return nil
}

// Delete removes a user and reports whether it was there. "default" stays.
func (us *Users) Delete(name string) bool {
	us.mu.Lock()
	defer us.mu.Unlock()
	a := us.accounts[name]
	if a == nil || a == us.original {
		return false
	}
	a.gone.Store(true)
	delete(us.accounts, name)
	return true
}

// All lists the users by name.
func (us *Users) All() []*User {
	us.mu.Lock()
	defer us.mu.Unlock()
	var all []*User
	for _, a := range us.accounts {
		all = append(all, a.User())
	}
	slices.SortFunc(all, func(a, b *User) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// LogIn returns the account of who has the password, nil for nobody. It takes as long for a wrong password as for a right
// one, and for a user that does not exist as for one that has one password.
func (us *Users) LogIn(name, password []byte) *Account {
	sum := sha256.Sum256(password)
	a := us.Find(string(name))
	if a == nil {
		subtle.ConstantTimeCompare(sum[:], sum[:])
		return nil
	}
	u := a.User()
	same := 0
	for i := range u.Passwords {
		same |= subtle.ConstantTimeCompare(u.Passwords[i][:], sum[:])
	}
	if !u.Enabled || same == 0 && !u.NoPass {
		return nil
	}
	return a
}
