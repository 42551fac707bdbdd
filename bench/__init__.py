"""The benchmarks: the shipped processes with the shipped settings, raw Celery beside them in the same run.

`python -m bench` runs all of them, `python -m bench W1 W3` some. Nothing in here is imported by the application.
"""
