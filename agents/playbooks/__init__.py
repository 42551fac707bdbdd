"""Playbooks: what there is, what fits, what it targets, and how one is run."""
