"""The only SQL and the only Redis: tables, migrations, one module per noun, archive, cache."""
