"""The WebSocket interface: each socket asks who may see, reads from its own place, and sends what is new."""
