"""PostgreSQL for tests: the same, but emptied between tests in spite of the triggers that keep the trail whole."""

from django.db.backends.postgresql import base, operations


class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        truncate = super().sql_flush(style, tables, reset_sequences=reset_sequences, allow_cascade=allow_cascade)
        if not truncate:
            return []
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype::int & 32 <> 0"
            )
            guarded = [name for (name,) in cursor.fetchall()]
        # Only the owner can do this, and only tests run as the owner.
        return [
            *(f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in guarded),
            *truncate,
            *(f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in guarded),
        ]


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
