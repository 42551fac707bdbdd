"""PostgreSQL, Valkey and everything else that one command starts, and the keeper that looks after them.

Nothing here imports Django: the keeper must stay small and must work while the application does not.
"""
