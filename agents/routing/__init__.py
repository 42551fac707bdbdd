"""Which agent gets a piece of work, and why: filter, score, choose, explain. Pure: facts come in, a choice goes out."""
