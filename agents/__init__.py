"""Who can do the work, who should, and with what. Knows `audit`; never `plans` or the site."""
