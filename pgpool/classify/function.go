// HOT PATH

package classify

// effect is what calling a function means.
type effect struct {
	reads     bool  // it may be called on a replica
	flags     Flags // what it does to the session
	setConfig bool  // its third argument decides between StateSet and SetLocal
	ofSetting bool  // it reads if its argument is a setting that is the same everywhere
}

// effectOf judges a function by its name in lower case. A function that is not known may do anything but change the
// session, as far as can be told.
func effectOf(name []byte) effect {
	switch string(name) {
	case "set_config":
		return effect{setConfig: true}
	case "current_setting":
		return effect{reads: true, ofSetting: true}
	case "currval", "lastval":
		return effect{flags: Sequence}
	case "setseed":
		return effect{flags: StateSeed}
	case "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared",
		"pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all":
		return effect{flags: StateAdvisoryLock}
	case "pg_backend_pid", "dblink_connect", "dblink_connect_u", "dblink_disconnect", "dblink_open", "dblink_close",
		"dblink_send_query", "pg_replication_origin_session_setup", "pg_replication_origin_session_reset":
		return effect{flags: StateOther}
	case "pg_cancel_backend", "pg_terminate_backend", "pg_blocking_pids", "pg_safe_snapshot_blocking_pids",
		"pg_isolation_test_session_is_blocked", "pg_log_backend_memory_contexts", "pg_stat_get_activity":
		return effect{flags: Pids}
	case "pg_listening_channels":
		return effect{flags: StateListen}
	case "pg_notify":
		return effect{flags: Notifies}
	}
	return effect{reads: isBuiltinRead(name) || isHarmlessVolatile(name)}
}

// isHarmlessVolatile lists volatile functions that a replica answers as well as the primary: they depend on the clock, on
// chance, on the size of files or on the catalog, and have no effect.
func isHarmlessVolatile(name []byte) bool {
	switch string(name) {
	case "clock_timestamp", "timeofday", "random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "pg_sleep",
		"pg_sleep_for", "pg_sleep_until", "pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size",
		"pg_database_size", "pg_tablespace_size", "pg_partition_tree", "pg_partition_ancestors", "current_query":
		return true
	}
	return false
}

// isTempSchema tells whether a name is that of a schema of temporary tables.
func isTempSchema(name []byte) bool {
	return hasPrefix(name, "pg_temp") || hasPrefix(name, "pg_toast_temp")
}

// isServerRelation lists views that tell of the server or the session at hand.
func isServerRelation(name []byte) bool {
	if hasPrefix(name, "pg_stat_") || hasPrefix(name, "pg_statio_") {
		return true
	}
	switch string(name) {
	case "pg_aios", "pg_available_extension_versions", "pg_available_extensions", "pg_backend_memory_contexts", "pg_config",
		"pg_cursors", "pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_locks",
		"pg_prepared_statements", "pg_prepared_xacts", "pg_replication_origin_status", "pg_replication_slots",
		"pg_sequences", "pg_settings", "pg_shmem_allocations", "pg_shmem_allocations_numa", "pg_wait_events":
		return true
	}
	return false
}

// isAttributeFunction lists the functions with an effect that one argument is enough for. Their names are seven letters
// long, or have 22 and more, or the third is an underscore.
func isAttributeFunction(name []byte) bool {
	if hasPrefix(name, "lo_") || hasPrefix(name, "pg_stat_reset_") || hasPrefix(name, "pg_replication_origin_") {
		return true
	}
	switch string(name) {
	case "nextval", "currval", "setseed", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_unlock",
		"pg_advisory_unlock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_lock",
		"pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared", "pg_cancel_backend",
		"pg_terminate_backend", "pg_log_backend_memory_contexts", "pg_backup_start", "pg_backup_stop", "pg_promote",
		"pg_create_physical_replication_slot", "pg_create_restore_point", "pg_drop_replication_slot",
		"pg_import_system_collations", "brin_summarize_new_values", "gin_clean_pending_list":
		return true
	}
	return false
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}
