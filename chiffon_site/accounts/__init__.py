"""Sign-in, roles as groups."""
