"""A file per page. A view translates the request in, makes one call, and translates the answer out."""
