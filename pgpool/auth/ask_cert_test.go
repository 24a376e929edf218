package auth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
)

func TestCertificates(t *testing.T) {
	authority := issue(t, pkix.Name{CommonName: "authority"}, nil, nil)
	stranger := issue(t, pkix.Name{CommonName: "another authority"}, nil, nil)
	cfg := &tls.Config{Certificates: []tls.Certificate{issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: poolOf(authority)}
	d := openDoor(t, mustNew(t, Config{Method: Cert, Users: mustUsers(t, `"ann" "opensesame"`)}), cfg)
	name := func(cn ...string) pkix.Name {
		var n pkix.Name
		for _, s := range cn {
			n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: commonName, Value: s})
		}
		return n
	}
	for _, tt := range []struct {
		about string
		cert  *tls.Certificate
		want  string // what psql says; nothing: it is let in
	}{
		{"of the user", new(issue(t, name("ann"), &authority, nil)), ""},
		{"of another", new(issue(t, name("bob"), &authority, nil)), `certificate authentication failed for user "ann"`},
		{"in other letters", new(issue(t, name("Ann"), &authority, nil)), `certificate authentication failed for user "ann"`},
		{"without a name", new(issue(t, pkix.Name{Organization: []string{"ann"}}, &authority, nil)), "certificate authentication failed"},
		{"with two names", new(issue(t, name("bob", "ann"), &authority, nil)), "certificate authentication failed"},
		{"with two names, the other way round", new(issue(t, name("ann", "bob"), &authority, nil)), "certificate authentication failed"},
		{"with an alternative name", new(issue(t, name("bob"), &authority, func(c *x509.Certificate) { c.DNSNames = []string{"ann"} })), "certificate authentication failed"},
		{"of another authority", new(issue(t, name("ann"), &stranger, nil)), "error"},
		{"none", nil, "connection requires a valid client certificate"},
	} {
		params := "user=ann sslmode=require"
		if tt.cert != nil {
			cert, key := save(t, *tt.cert)
			params += " sslcert=" + cert + " sslkey=" + key
		}
		out, err := d.psql(t, "", params)
		if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
			t.Errorf("certificate %s: %v: %s", tt.about, err, out)
		}
		if err == nil && d.last(t).credentials.secret.text != "opensesame" {
			t.Errorf("certificate %s: the user's password is known and was not returned", tt.about)
		}
	}
	if out, err := d.psql(t, "", "user=ann sslmode=disable"); err == nil || !strings.Contains(out, "requires a valid client certificate") {
		t.Errorf("without TLS: %v: %s", err, out)
	}
	cfg.ClientAuth = tls.RequestClientCert // asked for, but not verified
	cert, key := save(t, issue(t, name("ann"), &stranger, nil))
	if out, err := openDoor(t, d.auth, cfg.Clone()).psql(t, "", "user=ann sslmode=require sslcert="+cert+" sslkey="+key); err == nil {
		t.Errorf("an unverified certificate is let in: %s", out)
	}
}
