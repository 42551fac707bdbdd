"""What happened, provably. Knows nobody: a subject is a kind and an id, never a foreign key."""
