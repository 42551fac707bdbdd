"""From a decomposition to a plan: frozen drafts first, everything found before anyone is asked, then rows."""
