// PostgreSQL's JDBC driver against DATABASE_URL. What it prints must not depend on what is behind that URL.
// PRIMARY_URL is the same database without a pooler; NOTIFY_URL is where another client notifies from.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.*;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

public class Jdbc {
    interface Part {
        void run(Connection c) throws Exception;
    }

    static Connection connect(String variable, String... options) throws Exception {
        URI url = new URI(System.getenv(variable));
        String more = options.length == 0 ? "" : "&" + String.join("&", options);
        return DriverManager.getConnection("jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath()
            + "?sslmode=disable&user=postgres" + more);
    }

    static Connection connect() throws Exception {
        return connect("DATABASE_URL");
    }

    static void run(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    static String rows(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            try (ResultSet r = s.executeQuery()) {
                List<String> all = new ArrayList<>();
                while (r.next()) {
                    List<String> row = new ArrayList<>();
                    for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) row.add(r.getString(i));
                    all.add(row.toString());
                }
                return all.toString();
            }
        }
    }

    static String attempt(Connection c, String sql) {
        try {
            run(c, sql);
            return "no error";
        } catch (SQLException e) {
            return e.getSQLState() + " " + (e instanceof PSQLException p && p.getServerErrorMessage() != null
                ? p.getServerErrorMessage().getMessage() : e.getMessage());
        }
    }

    static void transactions(Connection c) throws Exception {
        run(c, "create table tx (id int primary key)");
        c.setAutoCommit(false);
        run(c, "insert into tx values (1)");
        c.commit();
        run(c, "insert into tx values (2)");
        c.rollback();
        run(c, "insert into tx values (3)");
        Savepoint before = c.setSavepoint();
        System.out.println(attempt(c, "insert into tx values (4), (1)"));
        c.rollback(before);
        c.commit();
        System.out.println(attempt(c, "insert into tx values (1)") + "; " + attempt(c, "select 1"));
        c.rollback();
        c.setAutoCommit(true);
        System.out.println(rows(c, "select id from tx order by id"));
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        c.setReadOnly(true);
        c.setAutoCommit(false);
        System.out.println(rows(c, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')"));
        System.out.println(attempt(c, "insert into tx values (9)"));
        c.rollback();
    }

    static void prepared(Connection c) throws Exception {
        // From the fifth execution on the statement is a named one of the server's.
        try (PreparedStatement s = c.prepareStatement("select ?::int + 1, now() > '2001-01-01'")) {
            for (int i = 0; i < 12; i++) {
                c.setAutoCommit(i % 3 != 0);
                s.setInt(1, i);
                try (ResultSet r = s.executeQuery()) {
                    r.next();
                    if (r.getInt(1) != i + 1 || !r.getBoolean(2)) throw new AssertionError(i);
                }
                if (!c.getAutoCommit()) c.commit();
            }
        }
        c.setAutoCommit(true);
        c.unwrap(PGConnection.class).setPrepareThreshold(1);
        run(c, "create table plan (a int)");
        run(c, "insert into plan values (1)");
        try (PreparedStatement s = c.prepareStatement("select * from plan for update")) { // on the primary
            for (String change : new String[] {"select 1", "alter table plan add b text default 'new'", "alter table plan alter a type text", "alter table plan drop b"}) {
                run(c, change);
                for (int i = 0; i < 3; i++) // a plan of the server's that is out of date
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        System.out.println(r.getMetaData().getColumnCount() + " " + r.getMetaData().getColumnTypeName(1) + " " + r.getString(1));
                    }
            }
            c.setAutoCommit(false);
            s.executeQuery().close();
            run(c, "alter table plan add b text");
            try { // in a transaction the driver has to be told
                s.executeQuery().close();
                System.out.println("goes on");
            } catch (SQLException e) {
                System.out.println(e.getSQLState() + " " + e.getMessage());
            }
            c.rollback();
            c.setAutoCommit(true);
        }
        for (int turn = 0; turn < 3; turn++)
            for (int n = 0; n < 50; n++) // more than the pooler keeps on a server, when the test says so
                if (!rows(c, "select ?::int + " + n, turn).equals("[[" + (turn + n) + "]]")) throw new AssertionError(n);
    }

    static void batches(Connection c) throws Exception {
        run(c, "create table batch (id int primary key, v text)");
        try (PreparedStatement s = c.prepareStatement("insert into batch values (?, ?)")) {
            for (int i = 0; i < 1000; i++) {
                s.setInt(1, i);
                s.setString(2, "value " + i);
                s.addBatch();
            }
            System.out.println(Arrays.stream(s.executeBatch()).sum());
            for (int i : new int[] {2000, 1, 2001}) {
                s.setInt(1, i);
                s.addBatch();
            }
            s.executeBatch();
        } catch (BatchUpdateException e) {
            System.out.println(e.getSQLState() + " " + Arrays.toString(e.getUpdateCounts()));
        }
        try (Statement s = c.createStatement()) {
            s.addBatch("delete from batch where id >= 500");
            s.addBatch("update batch set v = 'x' where id < 10");
            System.out.println(Arrays.toString(s.executeBatch()));
            s.execute("select count(*) from batch; select 'second'");
            do {
                s.getResultSet().next();
                System.out.print(s.getResultSet().getString(1) + " ");
            } while (s.getMoreResults());
            System.out.println();
        }
        try (PreparedStatement s = c.prepareStatement("insert into batch values (3000, 'k')", Statement.RETURN_GENERATED_KEYS)) {
            s.executeUpdate();
            s.getGeneratedKeys().next();
        }
    }

    static void copies(Connection c) throws Exception {
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        run(c, "create table copied (id int, v text)");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 20000; i++) lines.append(i).append("\tvalue ").append(i).append('\n');
        System.out.println(copy.copyIn("copy copied from stdin", new StringReader(lines.toString())));
        StringWriter out = new StringWriter();
        System.out.println(copy.copyOut("copy (select * from copied order by id) to stdout", out));
        System.out.println(out.toString().contentEquals(lines));
        try {
            copy.copyIn("copy copied from stdin", new StringReader("1\tx\nbad\ty\n"));
        } catch (SQLException e) {
            System.out.println(e.getSQLState());
        }
        copy.copyIn("copy copied from stdin").cancelCopy();
        System.out.println(rows(c, "select count(*) from copied"));
    }

    static void notifications(Connection c) throws Exception {
        run(c, "listen news");
        try (Connection other = connect("NOTIFY_URL")) {
            run(other, "notify news, 'from another'");
        }
        PGConnection pg = c.unwrap(PGConnection.class);
        for (var n : pg.getNotifications(10_000)) System.out.println(n.getName() + " " + n.getParameter());
        run(c, "notify news, 'to myself'");
        for (var n : pg.getNotifications(10_000)) System.out.println(n.getName() + " " + n.getParameter());
        run(c, "unlisten news");
        System.out.println(rows(c, "select * from pg_listening_channels()"));
    }

    static void cancels(Connection c) throws Exception {
        c.setAutoCommit(false); // on the primary, where the watcher looks
        try (Statement s = c.createStatement()) {
            var canceller = CompletableFuture.runAsync(() -> {
                try (Connection watcher = connect("PRIMARY_URL")) {
                    while (rows(watcher, "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
                        + " and datname = current_database()").equals("[]")) { }
                    s.cancel();
                } catch (Exception e) {
                    throw new RuntimeException(e);
                }
            });
            try {
                s.execute("select pg_sleep(60)");
            } catch (SQLException e) {
                System.out.println(e.getSQLState() + " " + e.getMessage());
            }
            canceller.get();
        }
        c.rollback();
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1); // the driver's own timer and cancel
            s.execute("select pg_sleep(60)");
        } catch (SQLException e) {
            System.out.println(e.getSQLState());
        }
        c.rollback();
        c.setAutoCommit(true);
        run(c, "set statement_timeout to '50ms'");
        System.out.println(attempt(c, "select pg_sleep(60)") + "; " + rows(c, "show statement_timeout"));
        run(c, "reset statement_timeout");
        System.out.println(rows(c, "select 'goes on'"));
    }

    static void settings(Connection c) throws Exception {
        try (Connection other = connect("DATABASE_URL", "currentSchema=nowhere,public", "ApplicationName=another", "options=-c%20statement_timeout=90000")) {
            run(c, "set timezone to 'Asia/Tokyo'");
            c.setClientInfo("ApplicationName", "one");
            for (int i = 0; i < 3; i++)
                for (Connection each : new Connection[] {c, other})
                    System.out.println(rows(each, "select current_setting('timezone'), current_setting('search_path'),"
                        + " current_setting('application_name'), current_setting('statement_timeout'), current_setting('extra_float_digits')"));
            other.setSchema("pg_catalog");
            System.out.println(c.getSchema() + " " + other.getSchema());
            run(c, "reset all");
            System.out.println(rows(c, "show application_name") + rows(other, "show application_name") + rows(c, "show extra_float_digits"));
        }
        System.out.println(c.getMetaData().getDatabaseProductVersion().startsWith("15"));
    }

    static void temporary(Connection c) throws Exception {
        run(c, "create temp table scratch as select generate_series(1, 3) as n");
        System.out.println(rows(c, "select sum(n) from scratch") + rows(c, "select pg_try_advisory_lock(7)") + rows(c, "select pg_advisory_unlock(7)"));
        c.setAutoCommit(false);
        run(c, "set local timezone to 'Europe/Berlin'");
        run(c, "set work_mem to '1MB'");
        System.out.println(rows(c, "show timezone") + rows(c, "show work_mem"));
        c.rollback();
        System.out.println(rows(c, "show timezone") + rows(c, "show work_mem"));
        c.commit();
    }

    static void nothingLeaks(Connection c) throws Exception {
        System.out.println(rows(c, "select to_regclass('pg_temp.scratch'), current_setting('work_mem'), current_setting('statement_timeout')"));
    }

    static void large(Connection c) throws Exception {
        c.setAutoCommit(false);
        long total = 0;
        try (PreparedStatement s = c.prepareStatement("select n, repeat('x', n % 300) from generate_series(1, 50000) n")) {
            s.setFetchSize(1000); // portals
            try (ResultSet r = s.executeQuery()) {
                while (r.next()) total += r.getInt(1) + r.getString(2).length();
            }
        }
        c.commit();
        c.setAutoCommit(true);
        System.out.println(total);
        String value = "y".repeat(5_000_000);
        System.out.println(rows(c, "select ? || 'z'", value).length());
        var large = c.getMetaData().getColumns(null, "pg_catalog", "pg_class", "rel%");
        int n = 0;
        while (large.next()) n++;
        System.out.println(n);
    }

    static void binary() throws Exception {
        try (Connection c = connect("DATABASE_URL", "prepareThreshold=-1", "binaryTransfer=true");
             PreparedStatement s = c.prepareStatement("select ?::int, ?::bigint, ?::float8, ?::numeric, ?::bool, ?::text, ?::bytea, ?::timestamptz, ?::int[], null::int")) {
            Object[] values = {1, -(1L << 40), 1.5, new BigDecimal("12.340"), true, "é\t\\", new byte[] {0, -1},
                Timestamp.from(java.time.Instant.ofEpochSecond(981173106)), c.createArrayOf("int4", new Integer[] {1, null, 3})};
            for (int i = 0; i < values.length; i++) s.setObject(i + 1, values[i]);
            try (ResultSet r = s.executeQuery()) {
                r.next();
                System.out.println(r.getInt(1) + " " + r.getLong(2) + " " + r.getDouble(3) + " " + r.getBigDecimal(4) + " " + r.getBoolean(5) + " "
                    + r.getString(6) + " " + Arrays.toString(r.getBytes(7)) + " " + r.getTimestamp(8).toInstant() + " " + r.getArray(9) + " " + r.getObject(10));
            }
        }
    }

    static void errors(Connection c) throws Exception {
        run(c, "create table strict (id int check (id > 0), v text not null)");
        for (String sql : new String[] {"selec", "select nothing", "select 1/0", "insert into strict values (0, '')", "insert into strict values (1)",
            "select * from missing", "select 'x'::int", "select 1; select 1/0; select 2"})
            System.out.println(attempt(c, sql));
        try (Statement s = c.createStatement()) {
            s.execute("do $$begin raise warning 'careful'; end$$");
            System.out.println(s.getWarnings().getSQLState() + " " + s.getWarnings().getMessage());
        }
    }

    static void twoClients(Connection c) throws Exception {
        run(c, "create table shared (id int primary key, v text)");
        try (Connection other = connect()) {
            int id = 0;
            for (Connection each : new Connection[] {c, other}) each.unwrap(PGConnection.class).setPrepareThreshold(1);
            for (int turn = 0; turn < 10; turn++)
                for (Connection each : new Connection[] {c, other}) {
                    String name = each == c ? "first" : "second";
                    each.setAutoCommit(false);
                    try (PreparedStatement s = each.prepareStatement("insert into shared select ?, '" + name + "'")) { // S_1 of both
                        s.setInt(1, id++);
                        s.executeUpdate();
                    }
                    each.commit();
                    each.setAutoCommit(true);
                    if (!rows(each, "select '" + name + "' || ?", turn).equals("[[" + name + turn + "]]")) throw new AssertionError(name);
                }
            c.setAutoCommit(false);
            System.out.println(rows(c, "select v, count(*), sum(id) from shared group by v order by v"));
            c.commit();
        }
    }

    static void part(String name, Part p) throws Exception {
        System.out.println("-- " + name);
        try (Connection c = connect()) {
            p.run(c);
        }
    }

    public static void main(String[] args) throws Exception {
        part("transactions", Jdbc::transactions);
        part("prepared", Jdbc::prepared);
        part("batches", Jdbc::batches);
        part("copies", Jdbc::copies);
        part("notifications", Jdbc::notifications);
        part("cancels", Jdbc::cancels);
        part("settings", Jdbc::settings);
        part("temporary", Jdbc::temporary);
        part("nothing leaks", Jdbc::nothingLeaks);
        part("large", Jdbc::large);
        part("binary", c -> binary());
        part("errors", Jdbc::errors);
        part("two clients", Jdbc::twoClients);
    }
}
