"""What an agent can use. A tool takes a WorkRequest and a ToolContext and answers a WorkResult; it never raises for a failure."""
