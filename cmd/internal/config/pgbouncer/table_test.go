package pgbouncer

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// settings125 is every setting that PgBouncer 1.25.2 takes (main.c, bouncer_params), and the two that came after it.
const settings125 = `admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_ldap_options auth_query auth_type
auth_user autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout client_tls13_ciphers client_tls_ca_file
client_tls_cert_file client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode
conffile default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout
ignore_startup_parameters job_name listen_addr listen_backlog listen_port log_connections log_disconnections log_pooler_errors log_stats logfile
login_notify_message max_client_conn max_db_client_connections max_db_connections max_packet_size max_prepared_statements
max_user_client_connections max_user_connections min_pool_size peer_id pidfile pkt_buf pool_mode pool_idle_timeout query_timeout
query_wait_notify query_wait_timeout reserve_pool_size reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations server_check_delay
server_check_query server_connect_timeout server_fast_close server_idle_timeout server_lifetime server_login_retry server_reset_query
server_reset_query_always server_round_robin server_tls13_ciphers server_tls_ca_file server_tls_cert_file server_tls_ciphers
server_tls_key_file server_tls_protocols server_tls_sslmode service_name so_reuseport stats_period stats_users suspend_timeout syslog
syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout
track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group unix_socket_mode user verbose`

func TestEverySettingIsKnown(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules {
		if seen[r.name] {
			t.Errorf("%s has two rules", r.name)
		}
		seen[r.name] = true
		if (r.convert == none) != (r.advice != "") {
			t.Errorf("%s: want a conversion, or advice", r.name)
		}
	}
	for name := range strings.FieldsSeq(settings125) {
		if !seen[name] {
			t.Errorf("%s has no rule", name)
		}
	}
}

// A setting that the file leaves out means the same here and there, or it is written down.
func TestDefaultsAgree(t *testing.T) {
	ours := map[string]string{}
	for _, s := range config.Settings() {
		ours[s.Name] = s.Default
	}
	for _, r := range rules {
		if r.convert == none || r.convert == composed || r.state || r.name == "server_check_query" {
			continue
		}
		name := r.to
		if name == "" {
			name = r.name
		}
		def, known := ours[name]
		if !known {
			t.Errorf("%s is no setting of ours", name)
			continue
		}
		out, _, err := r.convert.value(r.name, r.def)
		if err != nil || out != "" && strings.TrimSuffix(out, "s") != strings.TrimSuffix(def, "s") {
			t.Errorf("%s: PgBouncer's default %q is %q with us, ours %q (%v)", r.name, r.def, out, def, err)
		}
	}
}

// Whatever a file holds, it is refused or gives YAML, in which notes cannot break out of their comments.
func FuzzConvert(f *testing.F) {
	f.Add("[databases]\n* = host=a,b port=1 user='x''y' password=p\n[pgbouncer]\nlisten_addr=*\npool_mode=session\n%include f\n")
	f.Add("[databases]\n\"a\"\"b\" = host=/x user=u\n[users]\nu = pool_size=3\n[peers]\n1=host=x\n")
	f.Add("[pgbouncer]\nserver_lifetime=0\nmin_pool_size=9\nauth_type=trust\nauth_user=x\nquery_timeout=1e9\nlisten_addr=\x7f\u2028x\n[\u0085]\na=1\n")
	f.Fuzz(func(t *testing.T, content string) {
		converted, err := convert("f", func(path string) (io.ReadCloser, error) {
			if path != "f" {
				return nil, os.ErrNotExist
			}
			return io.NopCloser(strings.NewReader(content)), nil
		})
		if err != nil {
			return
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(converted.YAML), &doc); err != nil {
			t.Fatalf("%v in:\n%s", err, converted.YAML)
		}
		var known []string
		for _, s := range config.Settings() {
			known = append(known, s.Name)
		}
		for i := 0; i < len(doc.Content[0].Content); i += 2 {
			if key := doc.Content[0].Content[i].Value; !slices.Contains(known, key) {
				t.Errorf("no setting of ours: %q", key)
			}
		}
	})
}

func FuzzPairs(f *testing.F) {
	f.Add("host=a password='it''s' port = 5")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := pairs(s)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range all {
			b.WriteString(p.key + "='" + strings.ReplaceAll(p.value, "'", "''") + "' ")
		}
		again, err := pairs(b.String())
		if err != nil || !slices.Equal(all, again) {
			t.Errorf("%q is %v, written again %v (%v)", s, all, again, err)
		}
	})
}
