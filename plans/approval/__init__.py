"""May it run? What is needed, who has spoken, and whether the digest still matches."""
