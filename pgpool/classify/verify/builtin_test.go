package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Builtins is what pg_proc says of the functions in pg_catalog, by name. Of several functions of one name the worst counts.
type Builtins struct {
	known    map[string]bool
	volatile map[string]bool
	takesOne map[string]bool // argument
}

// ReadBuiltins asks a server.
func ReadBuiltins(ctx context.Context, conn *pgx.Conn) (Builtins, error) {
	b := Builtins{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	rows, err := conn.Query(ctx, `select proname::text, bool_or(provolatile = 'v'),
			bool_or(pronargs >= 1 and pronargs - pronargdefaults <= 1 and prorettype <> 'trigger'::regtype)
		from pg_proc where pronamespace = 'pg_catalog'::regnamespace group by 1`)
	if err != nil {
		return b, fmt.Errorf("read pg_proc: %w", err)
	}
	for rows.Next() {
		var name string
		var volatile, takesOne bool
		if err := rows.Scan(&name, &volatile, &takesOne); err != nil {
			return b, fmt.Errorf("read pg_proc: %w", err)
		}
		b.known[name], b.volatile[name], b.takesOne[name] = true, volatile, takesOne
	}
	return b, rows.Err()
}

// effect is why a function is no read, and the flags of which one must be seen.
type effect struct {
	why   string
	flags classify.Flags
}

// harmless are volatile functions that the documentation gives no effect but an answer that differs, and whose answer is
// as good from a replica.
var harmless = strings.Fields(`random random_normal clock_timestamp timeofday gen_random_uuid pg_sleep pg_sleep_for pg_sleep_until
	pg_relation_size pg_total_relation_size pg_table_size pg_indexes_size pg_database_size pg_tablespace_size
	pg_partition_tree pg_partition_ancestors current_query`)

// ofSession are functions that are not volatile and tell of the session, the transaction or the server at hand
// ("Session Information Functions", "Transaction ID and Snapshot Information Functions", "Server Settings").
var ofSession = strings.Fields(`inet_client_addr inet_client_port inet_server_addr inet_server_port pg_backend_pid pg_conf_load_time
	pg_config pg_current_snapshot pg_current_xact_id pg_current_xact_id_if_assigned pg_cursor pg_get_replication_slots
	pg_is_other_temp_schema pg_listening_channels pg_my_temp_schema pg_postmaster_start_time pg_prepared_statement
	pg_prepared_xact pg_show_all_settings pg_show_replication_origin_status pg_trigger_depth txid_current
	txid_current_if_assigned txid_current_snapshot`)

// effect judges a function of pg_catalog.
func (b Builtins) effect(name string) effect {
	switch {
	case !b.known[name]:
		return effect{why: "calls what is not built in"}
	case name == "set_config":
		return effect{"sets", classify.StateSet | classify.SetLocal}
	case name == "setseed":
		return effect{"sets", classify.StateSeed}
	case name == "pg_notify":
		return effect{"notifies", classify.Notifies}
	case strings.Contains(name, "advisory") && !strings.Contains(name, "xact"):
		return effect{"locks", classify.StateAdvisoryLock}
	case slices.Contains(harmless, name):
		return effect{}
	case b.volatile[name]:
		return effect{why: "is volatile"}
	case slices.Contains(ofSession, name) || strings.HasPrefix(name, "pg_stat_get_"):
		return effect{why: "tells of this server"}
	}
	return effect{}
}
