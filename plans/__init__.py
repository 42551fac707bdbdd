"""What was asked, what we intend, who agreed, how it went. Knows `agents` and `audit`; never the site."""
