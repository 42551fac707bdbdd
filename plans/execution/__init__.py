"""Making it happen: rows become messages, messages become attempts, attempts become results. No page or API in here."""
