package classify

import "strings"

// Effect is a group of functions that a replica may run without an error, or with another error than a write's, and that
// belong on the primary all the same.
type Effect struct {
	Functions string // names in lower case, separated by blanks; a * at the end stands for whatever follows
	Why       string
	// Tells: the answer differs by server. Who asks a replica for it, by a hint or a rule, wants to know of that.
	Tells bool
}

// Effects returns the table of functions that are not called on a replica, with a reason each. docs/functions.md is
// written from it. Functions that are neither here nor known to only read are judged by the database's catalog.
func Effects() []Effect {
	return []Effect{
		{"pg_advisory_* pg_try_advisory_*", "a lock has to be taken where all others take it", false},
		{"set_config setseed", "it changes the session, which has to be looked at behind it", false},
		{"nextval setval", "it moves a sequence", false},
		{"currval lastval", "it tells what nextval gave to this session, on the primary", false},
		{"pg_sequence_last_value", "a replica's sequences are up to 32 values ahead", false},
		{"txid_current txid_current_if_assigned txid_current_snapshot txid_status pg_current_xact_id " +
			"pg_current_xact_id_if_assigned pg_current_snapshot pg_xact_status pg_xact_commit_timestamp " +
			"pg_xact_commit_timestamp_origin pg_last_committed_xact pg_get_multixact_members",
			"it takes a transaction id, or tells of those of the primary", false},
		{"pg_export_snapshot", "the snapshot is for sessions of the same server", false},
		{"lo_* loread lowrite", "it writes a large object, or leaves one open in the transaction", false},
		{"dblink dblink_*", "it keeps a connection, over which anything may run", false},
		{"query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema ts_stat ts_rewrite",
			"it runs SQL that it is given as a string", false},
		{"table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema " +
			"schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema currtid2",
			"it reads relations that the text does not name as such", false},
		{"current_setting", "of a setting that tells of the server's role, or that is not named by a literal", true},
		{"pg_notify pg_listening_channels pg_notification_queue_usage", "notifications pass through the primary", false},
		{"pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts pg_blocking_pids " +
			"pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_lock_status",
			"it reaches for sessions or locks, which are the primary's", false},
		{"pg_stat_* pg_statio_*", "statistics, and what resets them, are each server's own", true},
		{"pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_promote pg_wal_replay_pause pg_wal_replay_resume " +
			"pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_switch_wal pg_create_restore_point",
			"it acts on the server itself", false},
		{"pg_logical_* pg_create_*_replication_slot pg_copy_*_replication_slot pg_drop_replication_slot " +
			"pg_sync_replication_slots pg_get_replication_slots pg_replication_origin_advance pg_replication_origin_create " +
			"pg_replication_origin_drop pg_replication_origin_progress pg_replication_origin_session_* " +
			"pg_replication_origin_xact_* pg_replication_slot_advance pg_show_replication_origin_status",
			"replication slots and origins are each server's own", false},
		{"pg_is_in_recovery pg_last_wal_* pg_last_xact_replay_timestamp pg_current_wal_* pg_is_wal_replay_paused " +
			"pg_get_wal_* pg_walfile_name pg_walfile_name_offset pg_split_walfile_name pg_available_wal_summaries " +
			"pg_wal_summary_contents pg_control_*",
			"it tells of the server's log and role, or fails on a replica", true},
		{"pg_backend_pid inet_client_addr inet_client_port inet_server_addr inet_server_port pg_postmaster_start_time " +
			"pg_conf_load_time pg_config pg_show_all_settings pg_get_shmem_* pg_get_backend_memory_contexts " +
			"pg_get_loaded_modules pg_get_aios pg_jit_available pg_collation_actual_version " +
			"pg_database_collation_actual_version pg_available_extensions pg_available_extension_versions",
			"it tells of the server that is asked", true},
		{"pg_my_temp_schema pg_is_other_temp_schema pg_cursor pg_prepared_statement pg_prepared_xact pg_trigger_depth",
			"it tells of the session or of prepared transactions", false},
		{"pg_read_* pg_ls_* pg_stat_file pg_file_* pg_logdir_ls pg_current_logfile pg_show_all_file_settings pg_hba_file_rules " +
			"pg_ident_file_mappings", "files are each server's own", false},
		{"pg_import_system_collations pg_extension_config_dump binary_upgrade_* pg_nextoid pg_stop_making_pinned_objects " +
			"brin_summarize_new_values brin_summarize_range brin_desummarize_range gin_clean_pending_list " +
			"pg_restore_relation_stats pg_restore_attribute_stats pg_clear_relation_stats pg_clear_attribute_stats",
			"it writes", false},
		{"tsvector_update_trigger tsvector_update_trigger_column suppress_redundant_updates_trigger unique_key_recheck ri_fkey_* " +
			"amvalidate plpgsql_validator plpgsql_call_handler plpgsql_inline_handler " +
			"bthandler hashhandler gisthandler ginhandler spghandler brinhandler heap_tableam_handler dsnowball_* bernoulli system", "it is not made to be called by a query", false},
	}
}

// effectPattern stands for the names between two parts of one.
type effectPattern struct {
	before, after string
	effect        *Effect
}

// effectNames finds a group by name; those with a * are in effectPatterns.
var effectNames, effectPatterns = func() (names map[string]*Effect, patterns []effectPattern) {
	names = make(map[string]*Effect)
	for _, e := range Effects() {
		for name := range strings.FieldsSeq(e.Functions) {
			if before, after, ok := strings.Cut(name, "*"); ok {
				patterns = append(patterns, effectPattern{before, after, &e})
			} else {
				names[name] = &e
			}
		}
	}
	return names, patterns
}()

func effectNamed(name []byte) *Effect {
	if e := effectNames[string(name)]; e != nil {
		return e
	}
	for i := range effectPatterns {
		p := &effectPatterns[i]
		if n := len(name) - len(p.after); n >= len(p.before) && string(name[:len(p.before)]) == p.before && string(name[n:]) == p.after {
			return p.effect
		}
	}
	return nil
}

// WhyPrimary returns the reason why a built-in function is not called on a replica, or "" if none is known. name is in
// lower case.
func WhyPrimary(name []byte) string {
	if e := effectNamed(name); e != nil {
		return e.Why
	}
	return ""
}

// Tells tells whether the reason is that the function tells of the server that is asked.
func Tells(name []byte) bool {
	e := effectNamed(name)
	return e != nil && e.Tells
}

// OnlyReads tells whether a built-in function may be called on a replica. name is in lower case.
func OnlyReads(name []byte) bool { return effectOf(name).reads }

// IsServerRelation tells whether a view of the catalog tells of the server at hand. name is in lower case.
func IsServerRelation(name []byte) bool { return len(name) > 3 && isServerRelation(name) }
