"""The REST API: one door that knows who calls, the apps' routers behind it, and every error as a problem.

The apps' endpoints live in their own `api.py`; what enters here is what all of them need and none of them should repeat.
"""
