package acl

import (
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

func TestConfigure(t *testing.T) {
	us, err := NewUsers(command.NewTable(), "first", []string{"app on nopass ~* +@all", "old on nopass ~* +@all"})
	if err != nil {
		t.Fatal(err)
	}
	if err := us.Set("guest", []string{"on", "nopass", "~*", "+@all"}); err != nil {
		t.Fatal(err)
	}
	if err := us.Set("app", []string{"off"}); err != nil {
		t.Fatal(err)
	}
	lines := []string{"app on nopass ~* +@all", "old on nopass ~* +@all"}
	if changed, err := us.Configure("first", lines); changed || err != nil {
		t.Errorf("what is the same: changed %v, %v", changed, err)
	}
	app, old := us.Find("app"), us.Find("old")
	if app.User().Enabled {
		t.Error("what ACL SETUSER has made of a user is gone, although the configuration is the same")
	}
	if changed, err := us.Configure("first", []string{"app nonsense"}); changed || err == nil {
		t.Errorf("nonsense: changed %v, %v", changed, err)
	}
	if changed, err := us.Configure("second", lines[:1]); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	var names []string
	for _, u := range us.All() {
		names = append(names, u.Name)
	}
	if got := strings.Join(names, " "); got != "app default guest" || !old.Gone() || app.Gone() {
		t.Errorf("users %s; old gone %v, app gone %v", got, old.Gone(), app.Gone())
	}
	if !app.User().Enabled {
		t.Error("a session of app sees what app was")
	}
	if us.LogIn([]byte("default"), []byte("first")) != nil || us.LogIn([]byte("default"), []byte("second")) != us.Default() {
		t.Error("the password is the first")
	}
}
