"""PostgreSQL for tests: the same, but emptied between tests in spite of the triggers that keep the trail whole."""

from django.db.backends.postgresql import base, operations


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        """Delete what is there: TRUNCATE makes new files for every table and index, most of which no test wrote to."""
        if not tables or reset_sequences:
            return super().sql_flush(style, tables, reset_sequences=reset_sequences, allow_cascade=allow_cascade)
        with self.connection.cursor() as cursor:
            cursor.execute(
                " UNION ALL ".join(f"(SELECT '{name}' FROM {self.quote_name(name)} LIMIT 1)" for name in tables)
            )
            written = [name for (name,) in cursor.fetchall()]
            if not written:
                return []
            # A table that is refused to be emptied, and each of its partitions, which have such a trigger of their own.
            cursor.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype::int & 8 <> 0"
            )
            guarded = [name for (name,) in cursor.fetchall()]
        # Only the owner can do this, and only tests run as the owner.
        return [
            *(f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in guarded),
            *(f"DELETE FROM {self.quote_name(name)}" for name in written),
            "SET CONSTRAINTS ALL IMMEDIATE",  # a table with checks to come cannot be altered
            *(f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in guarded),
        ]


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
