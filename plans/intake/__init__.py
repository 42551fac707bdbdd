"""From words to a decomposition. May know agents.playbooks; knows nothing of Django, planning or approval."""
