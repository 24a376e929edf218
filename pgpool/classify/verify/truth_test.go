package verify

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Truth is what a string of statements does, in the classifier's words. It comes from the parse tree and from
// PostgreSQL's documentation; nothing of the classifier decides it.
type Truth struct {
	Class classify.Class
	// Base is what Class would be if all functions only read and all relations were as good on a replica.
	Base classify.Class
	// Functions are those called that are not known to only read, and Relations what is named that is no part of a WITH list.
	Functions, Relations []called
	// Flags must each be seen: of every mask, one flag at least.
	Flags []classify.Flags
	// Why says what made it no read, in the order found.
	Why []string
}

// called is a name as servers know it.
type called struct{ schema, name string }

// Parse returns the truth of sql. An error means that it is no SQL to PostgreSQL 17.
func (b Builtins) Parse(sql string) (Truth, error) {
	tree, err := pg_query.Parse(sql)
	if err != nil {
		// libpg_query does not look behind a comment where the grammar looks two words ahead (NOT /* */ LIKE).
		bare, ok := withoutComments(sql)
		if !ok {
			return Truth{}, err
		}
		if tree, err = pg_query.Parse(bare); err != nil {
			return Truth{}, err
		}
	}
	w := walker{builtins: b}
	for _, raw := range tree.Stmts {
		w.statement(raw.Stmt)
	}
	w.truth.Relations = slices.DeleteFunc(w.truth.Relations, func(r called) bool { return r.schema == "" && slices.Contains(w.with, r.name) })
	return w.truth, nil
}

// withoutComments is false when there are none.
func withoutComments(sql string) (string, bool) {
	scan, err := pg_query.Scan(sql)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	end := 0
	for _, t := range scan.Tokens {
		if t.Token == pg_query.Token_SQL_COMMENT || t.Token == pg_query.Token_C_COMMENT {
			b.WriteString(sql[end:t.Start] + " ")
			end = int(t.End)
		}
	}
	b.WriteString(sql[end:])
	return b.String(), end > 0
}

type walker struct {
	builtins Builtins
	truth    Truth
	with     []string // names in WITH lists
}

func (w *walker) raise(c classify.Class, why string) {
	w.truth.Base = max(w.truth.Base, c)
	w.named(c, why)
}

// named is raise for what only a name tells.
func (w *walker) named(c classify.Class, why string) {
	w.truth.Class = max(w.truth.Class, c)
	if !slices.Contains(w.truth.Why, why) {
		w.truth.Why = append(w.truth.Why, why)
	}
}

func (w *walker) flag(any classify.Flags) { w.truth.Flags = append(w.truth.Flags, any) }

// statement judges a whole statement. Those that are not named define things or look after them: they are writes.
func (w *walker) statement(n *pg_query.Node) {
	switch s := n.GetNode().(type) {
	case nil:
	case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt,
		*pg_query.Node_MergeStmt:
		w.walk(n.ProtoReflect())
	case *pg_query.Node_VariableShowStmt:
		switch s.VariableShowStmt.Name {
		case "transaction_read_only", "default_transaction_read_only", "in_hot_standby":
			w.raise(classify.Write, "asks for the server's role")
		}
	case *pg_query.Node_ExplainStmt:
		w.explain(s.ExplainStmt)
	case *pg_query.Node_TransactionStmt:
		w.transaction(s.TransactionStmt)
	case *pg_query.Node_VariableSetStmt:
		w.raise(classify.Session, "SET")
		w.flag(settingFlags(s.VariableSetStmt))
	case *pg_query.Node_ConstraintsSetStmt:
		w.raise(classify.Session, "SET CONSTRAINTS")
		w.flag(classify.SetLocal)
	case *pg_query.Node_CopyStmt:
		w.copy(s.CopyStmt)
	case *pg_query.Node_ListenStmt:
		w.raise(classify.Listen, "LISTEN")
		w.flag(classify.StateListen)
	case *pg_query.Node_UnlistenStmt:
		w.raise(classify.Listen, "UNLISTEN")
		w.flag(classify.StateUnlisten)
	case *pg_query.Node_NotifyStmt:
		w.raise(classify.Write, "NOTIFY")
		w.flag(classify.Notifies)
	case *pg_query.Node_LockStmt:
		w.raise(classify.Lock, "LOCK")
	case *pg_query.Node_LoadStmt:
		w.raise(classify.Session, "LOAD")
		w.flag(classify.StateLoad)
	case *pg_query.Node_DiscardStmt:
		w.raise(classify.Session, "DISCARD")
		w.flag(classify.StateDiscard)
	case *pg_query.Node_PrepareStmt:
		w.raise(classify.Session, "PREPARE")
		w.flag(classify.StatePrepare)
		w.statement(s.PrepareStmt.Query)
	case *pg_query.Node_ExecuteStmt:
		w.raise(classify.Unknown, "EXECUTE")
		w.flag(classify.Executes)
		w.walk(n.ProtoReflect())
	case *pg_query.Node_DeallocateStmt:
		w.raise(classify.Session, "DEALLOCATE")
		w.flag(classify.StateDeallocate)
	case *pg_query.Node_DeclareCursorStmt:
		w.raise(classify.Session, "DECLARE")
		if s.DeclareCursorStmt.Options&cursorHold != 0 {
			w.flag(classify.StateCursor)
		}
		w.statement(s.DeclareCursorStmt.Query)
	case *pg_query.Node_FetchStmt, *pg_query.Node_ClosePortalStmt:
		w.raise(classify.Session, "uses a cursor")
	case *pg_query.Node_CallStmt, *pg_query.Node_DoStmt:
		w.raise(classify.Unknown, "runs code")
	case *pg_query.Node_VacuumStmt:
		w.raise(classify.Write, "utility")
	default:
		w.raise(classify.Write, "utility")
		w.flag(classify.Defines)
		w.temporary(n)
	}
}

// cursorHold is CURSOR_OPT_HOLD in parsenodes.h.
const cursorHold = 0x0020

// temporary notes CREATE TEMP.
func (w *walker) temporary(n *pg_query.Node) {
	var of *pg_query.RangeVar
	switch s := n.GetNode().(type) {
	case *pg_query.Node_CreateStmt:
		of = s.CreateStmt.Relation
	case *pg_query.Node_CreateTableAsStmt:
		of = s.CreateTableAsStmt.Into.GetRel()
	case *pg_query.Node_ViewStmt:
		of = s.ViewStmt.View
	case *pg_query.Node_CreateSeqStmt:
		of = s.CreateSeqStmt.Sequence
	}
	if of.GetRelpersistence() == "t" {
		w.flag(classify.StateTemp)
	}
}

// explain: the statement inside runs only with ANALYZE.
func (w *walker) explain(s *pg_query.ExplainStmt) {
	analyze := false
	for _, o := range s.Options {
		if d := o.GetDefElem(); d.GetDefname() == "analyze" {
			analyze = isTrue(d.Arg)
		}
	}
	if analyze {
		w.statement(s.Query)
	} else if s.Query.GetExecuteStmt() != nil {
		w.raise(classify.Session, "EXPLAIN EXECUTE")
	}
}

// isTrue follows defGetBoolean.
func isTrue(arg *pg_query.Node) bool {
	switch {
	case arg == nil:
		return true
	case arg.GetInteger() != nil:
		return arg.GetInteger().Ival != 0
	case arg.GetString_() != nil:
		v := strings.ToLower(arg.GetString_().Sval)
		return v != "false" && v != "off"
	}
	return true
}

func (w *walker) transaction(s *pg_query.TransactionStmt) {
	switch s.Kind {
	case pg_query.TransactionStmtKind_TRANS_STMT_BEGIN, pg_query.TransactionStmtKind_TRANS_STMT_START:
		class := classify.Begin
		for _, o := range s.Options {
			if d := o.GetDefElem(); d.GetDefname() == "transaction_read_only" {
				if class = classify.Begin; d.Arg.GetAConst().GetIval().GetIval() != 0 {
					class = classify.BeginReadOnly
				}
			}
		}
		w.raise(class, "BEGIN")
		w.flag(classify.OpensTx)
	case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		class := classify.Commit
		if s.Kind == pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK {
			class = classify.Rollback
		}
		w.raise(class, "COMMIT")
		w.flag(classify.EndsTx)
		if s.Chain {
			w.flag(classify.OpensTx)
		}
	case pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:
		w.raise(classify.Write, "PREPARE TRANSACTION")
		w.flag(classify.EndsTx)
	case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		w.raise(classify.Write, "COMMIT PREPARED")
	default:
		w.raise(classify.Savepoint, "SAVEPOINT")
	}
}

// settingFlags returns the flags of which a SET or RESET must show one.
func settingFlags(s *pg_query.VariableSetStmt) classify.Flags {
	switch {
	case s.IsLocal || s.Name == "TRANSACTION" || s.Name == "TRANSACTION SNAPSHOT":
		return classify.SetLocal | classify.StateSet | classify.StateRole
	case s.Name == "role" || s.Name == "session_authorization":
		return classify.StateRole
	case s.Kind == pg_query.VariableSetKind_VAR_RESET || s.Kind == pg_query.VariableSetKind_VAR_RESET_ALL:
		return classify.StateReset
	case s.Kind == pg_query.VariableSetKind_VAR_SET_DEFAULT:
		return classify.StateReset | classify.StateSet
	}
	return classify.StateSet
}

func (w *walker) copy(s *pg_query.CopyStmt) {
	w.flag(classify.Copy)
	switch {
	case s.IsFrom:
		w.raise(classify.CopyIn, "COPY FROM")
	case s.IsProgram || s.Filename != "":
		w.raise(classify.Write, "COPY to a file")
	default:
		w.raise(classify.CopyOut, "COPY TO")
	}
	if s.Query != nil {
		w.statement(s.Query)
	}
	if s.Relation != nil {
		w.relation(s.Relation)
	}
}

// walk looks at everything below a query.
func (w *walker) walk(m protoreflect.Message) {
	switch n := m.Interface().(type) {
	case *pg_query.InsertStmt:
		w.raise(classify.Write, "INSERT")
	case *pg_query.UpdateStmt:
		w.raise(classify.Write, "UPDATE")
	case *pg_query.DeleteStmt:
		w.raise(classify.Write, "DELETE")
	case *pg_query.MergeStmt:
		w.raise(classify.Write, "MERGE")
	case *pg_query.SelectStmt:
		if n.IntoClause != nil {
			w.raise(classify.Write, "INTO")
			if n.IntoClause.Rel.GetRelpersistence() == "t" {
				w.flag(classify.StateTemp)
			}
		}
		if len(n.LockingClause) > 0 {
			w.raise(classify.Lock, "FOR UPDATE")
		}
	case *pg_query.FuncCall:
		w.function(names(n.Funcname))
	case *pg_query.CommonTableExpr:
		w.with = append(w.with, n.Ctename)
	case *pg_query.RangeVar:
		w.relation(n)
	case *pg_query.ColumnRef:
		w.attribute(names(n.Fields))
	case *pg_query.A_Indirection:
		w.attribute(append([]string{""}, names(n.Indirection)...))
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				w.walk(v.List().Get(i).Message())
			}
		default:
			w.walk(v.Message())
		}
		return true
	})
}

// names returns the strings among nodes.
func names(nodes []*pg_query.Node) []string {
	var all []string
	for _, n := range nodes {
		if s := n.GetString_(); s != nil {
			all = append(all, s.Sval)
		}
	}
	return all
}

func (w *walker) function(name []string) {
	last := name[len(name)-1]
	if len(name) > 2 || (len(name) == 2 && name[0] != "pg_catalog") {
		w.named(classify.Write, "calls what is not built in")
		w.truth.Functions = append(w.truth.Functions, called{name[len(name)-2], last})
		return
	}
	does := w.builtins.effect(last)
	if does.why != "" {
		w.named(classify.Write, does.why+": "+last)
		w.truth.Functions = append(w.truth.Functions, called{strings.Join(name[:len(name)-1], ""), last})
	}
	if does.flags != 0 {
		w.flag(does.flags)
	}
}

// attribute judges x.name: where there is no such column, it calls name(x).
func (w *walker) attribute(name []string) {
	for _, n := range name[min(1, len(name)):] {
		if w.builtins.takesOne[n] {
			if does := w.builtins.effect(n); does.why != "" {
				w.raise(classify.Write, does.why+": "+n)
			}
		}
	}
}

// relation judges a name in FROM, and the like.
func (w *walker) relation(r *pg_query.RangeVar) {
	if strings.HasPrefix(r.Schemaname, "pg_temp") || strings.HasPrefix(r.Schemaname, "pg_toast_temp") {
		w.raise(classify.Write, "temporary table")
	}
	w.truth.Relations = append(w.truth.Relations, called{r.Schemaname, r.Relname})
	if (r.Schemaname == "" || r.Schemaname == "pg_catalog") && tellsOfServer(r.Relname) {
		w.named(classify.Write, "tells of this server: "+r.Relname)
	}
}

// serverViews are the system views of PostgreSQL's documentation (chapters "System Views" and "The Cumulative Statistics
// System") that tell of the server or session at hand and not of the database.
var serverViews = strings.Fields(`pg_available_extensions pg_available_extension_versions pg_backend_memory_contexts pg_config
	pg_cursors pg_file_settings pg_hba_file_rules pg_ident_file_mappings pg_locks pg_prepared_statements pg_prepared_xacts
	pg_replication_origin_status pg_replication_slots pg_sequences pg_settings pg_shmem_allocations`)

func tellsOfServer(view string) bool {
	return strings.HasPrefix(view, "pg_stat_") || strings.HasPrefix(view, "pg_statio_") || slices.Contains(serverViews, view)
}
